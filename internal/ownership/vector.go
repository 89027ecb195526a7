package ownership

// Vector says how much of every origin's data somebody has: by origin region, by stream (a partition
// of a topic, a store), the position up to which everything is there. A stream that is not named is at
// 0.
type Vector map[string]map[string]int64

// Covers reports whether v has everything that other has.
func (v Vector) Covers(other Vector) bool {
	for origin, streams := range other {
		for stream, position := range streams {
			if v[origin][stream] < position {
				return false
			}
		}
	}
	return true
}

// Join returns what v and other have together. It changes neither.
func (v Vector) Join(other Vector) Vector {
	out := Vector{}
	for _, from := range []Vector{v, other} {
		for origin, streams := range from {
			if out[origin] == nil {
				out[origin] = map[string]int64{}
			}
			for stream, position := range streams {
				out[origin][stream] = max(out[origin][stream], position)
			}
		}
	}
	return out
}

// Without returns v without the origins for which leave returns true. It does not change v.
func (v Vector) Without(leave func(origin string) bool) Vector {
	out := Vector{}
	for origin, streams := range v {
		if !leave(origin) {
			out[origin] = streams
		}
	}
	return out
}
