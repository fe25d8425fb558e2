"""The audits: questions declared before data, measured per independent unit, judged by one rule."""
