"""Generated content: is what a recommender writes there at all?"""
