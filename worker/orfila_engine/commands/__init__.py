"""The commands that need torch: `orfila train`, `investigate`, `unlearn`, `drill`. No server is involved."""
