# %% [markdown]
# # Audit a service
#
# What is deployed behind a URL is audited as it is: it is sent histories and answers with lists, by
# POST and in JSON. `GET <url>/capabilities` may say what it can do. Here the service is a thread of
# this file, so that it runs as it stands; yours runs where it is:
#
#     loopaudit audit https://host/recommend --data interactions.csv \
#         --set recommenders.0.args.token_env=MY_TOKEN

# %%
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import loopaudit as la

ITEMS = [f"item-{n:05d}" for n in range(80)]


class Service(BaseHTTPRequestHandler):
    """What was taken last comes back first, then everything else."""

    def do_GET(self):
        self.answer({"history": "any"})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["requests"]
        lists = [[*reversed(one["history"]), *ITEMS] for one in asked]
        self.answer({"results": [{"items": items} for items in lists]})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()

# %% [markdown]
# It must know the items of the world: a service of your own is audited with your own interactions
# (`la.World.fit("interactions.csv")`). The synthetic market calls its items `item-00000` and so on.

# %%
world = la.World.synthetic(users=60, items=80, topics=6, seed=7)
url = f"http://127.0.0.1:{server.server_port}/recommend"
run = la.simulate(world, url, arms=["random"], steps=8, worlds=3)
print(la.audit(run))
server.shutdown()
server.server_close()
