package kafka

// ErrNoGeneration is why offsets were not committed, and will not be: the session is not a member of its group now.
var ErrNoGeneration = errNoGeneration
