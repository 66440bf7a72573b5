"""What a Python user would pick instead of libqueue, at the workloads of the benches."""
