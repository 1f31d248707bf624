package essential

import "strings"

// Shorten returns a text that is valid UTF-8 and has at most limit bytes: the
// text itself, or its beginning and three dots.
func Shorten(text string, limit int) string {
	const dots = "..."
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(dots)], "") + dots
}
