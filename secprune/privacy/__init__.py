"""What is promised to patients, and in which words."""
