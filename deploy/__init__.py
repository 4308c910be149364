"""Running a cluster: `ringkv up` and `ringkv shard`, and the files for containers, Swarm and Kubernetes."""
