"""The Releases page: what serves, what was released and why, and the way back; docs/releases-page.md explains it."""
