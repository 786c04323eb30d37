//! The command line: the life cycle of a cluster, and the verbs of kubectl over gRPC.
