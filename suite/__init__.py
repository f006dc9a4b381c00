"""The platform: one event stream, one encoder, candidates, releases and live pages. It names no domain."""
