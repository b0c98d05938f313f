"""The ReAct loop: pure functions over a frozen state, and a thin shell that carries them out."""
