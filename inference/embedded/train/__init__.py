"""Everything that makes the embedded checkpoint: data generator, tokenizer, training, export, evaluation."""
