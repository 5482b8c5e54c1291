"""Measuring samples: functions of features, pixels and texts, and the networks that make features. No number without its protocol."""
