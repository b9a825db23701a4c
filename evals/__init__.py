"""What judges answers, policies and worlds: checks, stand-ins, workloads, benchmarks."""
