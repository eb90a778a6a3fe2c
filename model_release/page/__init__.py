"""What the Releases page shows, computed from what was read: pure functions, and the shapes of the answers.

Text that people, models, data and alerts wrote is passed on as it is; whoever shows it writes it as text, never as HTML.
"""
