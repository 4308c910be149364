"""The benchmark: this cluster and its peers on one machine, interleaved, with every claim checked by a ratio."""
