"""What a saved network says of rows in files, a batch at a time: reading, answering, writing."""
