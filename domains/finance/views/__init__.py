"""Pages of the analyst: the dashboard and its panels, alerts, rules, stories, and the lists behind them."""
