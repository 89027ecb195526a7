package main

// attention is what a person has to look at: the command ends with exitAttention.
type attention string

// Error is what there is to say.
func (a attention) Error() string { return string(a) }

// Is makes it one of errAttention's kind.
func (a attention) Is(target error) bool { return target == errAttention }
