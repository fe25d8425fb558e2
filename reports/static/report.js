// Comforts only: the page says everything without this script.
(function () {
  "use strict";
  var cards = Array.prototype.slice.call(document.querySelectorAll("details.card"));
  var bar = document.getElementById("filters");
  var chosen = { verdict: "", recommender: "" };

  function values(key) {
    return cards.map(function (c) { return c.dataset[key]; })
      .filter(function (v, i, all) { return all.indexOf(v) === i; });
  }
  function apply() {
    var shown = 0;
    cards.forEach(function (c) {
      var keep = Object.keys(chosen).every(function (k) { return !chosen[k] || c.dataset[k] === chosen[k]; });
      c.hidden = !keep;
      shown += keep ? 1 : 0;
    });
    status.textContent = shown + " of " + cards.length + " findings shown";
  }
  function select(key, label) {
    var options = values(key);
    if (options.length < 2) { return; }
    var wrap = document.createElement("label");
    var box = document.createElement("select");
    wrap.textContent = label + " ";
    ["all"].concat(options).forEach(function (v) {
      var o = document.createElement("option");
      o.textContent = v === "all" ? "all" : v;
      o.value = v === "all" ? "" : v;
      box.appendChild(o);
    });
    box.addEventListener("change", function () { chosen[key] = box.value; apply(); });
    wrap.appendChild(box);
    bar.appendChild(wrap);
  }
  var status = document.createElement("span");
  status.setAttribute("role", "status");
  if (bar && cards.length > 3) {
    select("verdict", "Verdict");
    select("recommender", "Recommender");
    bar.appendChild(status);
    bar.hidden = !bar.querySelector("select");
  }

  // a link to a folded part unfolds it
  function unfold() {
    var id = decodeURIComponent(location.hash.slice(1));
    var part = id && document.getElementById(id);
    for (var p = part; p; p = p.parentElement) {
      if (p.tagName === "DETAILS") { p.open = true; p.hidden = false; }
    }
    if (part) { part.scrollIntoView(); }
  }
  window.addEventListener("hashchange", unfold);
  unfold();

  // paper cannot be unfolded
  var folded = [];
  window.addEventListener("beforeprint", function () {
    folded = Array.prototype.slice.call(document.querySelectorAll("details:not([open])"));
    folded.forEach(function (d) { d.open = true; });
  });
  window.addEventListener("afterprint", function () { folded.forEach(function (d) { d.open = false; }); });
})();
