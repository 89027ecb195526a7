package node

import (
	"slices"
	"strings"
)

// expand replaces $(NAME) by the variable's value as Kubernetes does: $$ stands for one dollar sign, and
// references to unknown variables stay as they are.
func expand(text string, lookup func(string) (string, bool)) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, "$$"):
			out.WriteByte('$')
			i++
		case strings.HasPrefix(rest, "$("):
			end := strings.IndexByte(rest, ')')
			if end < 0 {
				out.WriteString(rest)
				return out.String()
			}
			if value, known := lookup(rest[2:end]); known {
				out.WriteString(value)
			} else {
				out.WriteString(rest[:end+1])
			}
			i += end
		default:
			out.WriteByte(text[i])
		}
	}
	return out.String()
}

// mount tells where a path of the container really lies.
type mount struct{ path, dir string }

// relocate replaces mounted paths in a command line or variable by where they really lie: a process of
// this machine has no file system of its own. A path counts where it stands as a whole, alone or with
// more path behind it; the longest one wins.
func relocate(text string, mounts []mount) string {
	mounts = slices.Clone(mounts)
	slices.SortStableFunc(mounts, func(a, b mount) int { return len(b.path) - len(a.path) })
	var out strings.Builder
	for i := 0; i < len(text); {
		m, found := mountAt(text, i, mounts)
		if !found {
			out.WriteByte(text[i])
			i++
			continue
		}
		out.WriteString(m.dir)
		i += len(m.path)
	}
	return out.String()
}

func mountAt(text string, i int, mounts []mount) (mount, bool) {
	if i > 0 && (isPathByte(text[i-1]) || text[i-1] == '/') {
		return mount{}, false
	}
	for _, m := range mounts {
		rest, found := strings.CutPrefix(text[i:], m.path)
		if found && (rest == "" || !isPathByte(rest[0])) {
			return m, true
		}
	}
	return mount{}, false
}

// isPathByte reports whether a byte continues a path's last element.
func isPathByte(b byte) bool {
	return b == '-' || b == '_' || b == '.' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}
