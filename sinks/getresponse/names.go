package getresponse

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of GetResponse's names.
const (
	tagCharsMin     = 2
	eventCharsMin   = 3
	nameCharsMax    = 64
	contactNameMax  = 128
	eventValueMax   = 255
	quotedCharsMax  = 80
	tagsOfContact   = 500 // more the API does not show of one contact
	namesPerMessage = 20
)

// TagName is the tag that GetResponse gets for a tag of ours: its own rule is 2 to 64 of a-z, A-Z, 0-9 and the underscore.
// Every run of other characters becomes one underscore, and none of those stays at an end. A name of which nothing is
// left, or that is too short or too long, is refused.
func TagName(name string) (string, error) { return narrow(name, tagCharsMin) }

// EventName is the same for custom events, whose letters are small and whose least length is 3.
func EventName(name string) (string, error) { return narrow(strings.ToLower(name), eventCharsMin) }

func narrow(name string, charsMin int) (string, error) {
	fits := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
	}
	var b strings.Builder
	gap := false
	for _, r := range strings.TrimSpace(name) {
		if !fits(r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('_')
			gap = false
		}
		b.WriteRune(r)
	}
	out := b.String()
	switch {
	case strings.Trim(out, "_") == "":
		return "", fmt.Errorf("name %s has no letter a-z or digit", quoted(name))
	case len(out) < charsMin:
		return "", fmt.Errorf("name %s is too short: GetResponse wants at least %d characters", quoted(name), charsMin)
	case len(out) > nameCharsMax:
		return "", fmt.Errorf("name %s is too long: GetResponse takes %d characters", quoted(name), nameCharsMax)
	}
	return out, nil
}

func quoted(text string) string {
	if utf8.RuneCountInString(text) > quotedCharsMax {
		text = string([]rune(text)[:quotedCharsMax]) + "..."
	}
	return fmt.Sprintf("%q", text)
}

// tagSet are the tags of one command under GetResponse's names. Two that would become one tag are refused: one of them
// would then stand for both.
type tagSet struct {
	add, remove []string
}

func tagsOf(tags, noTags []string) (tagSet, *failure) {
	var set tagSet
	was := map[string]string{} // lower-case tag to our name
	take := func(names []string, into *[]string) *failure {
		for _, name := range names {
			tag, err := TagName(name)
			if err != nil {
				return reject("rename the tag in the mapping to letters, digits and underscores, and replay", "tag: %s", err)
			}
			key := strings.ToLower(tag)
			other, seen := was[key]
			if seen {
				if strings.EqualFold(strings.TrimSpace(other), strings.TrimSpace(name)) {
					continue
				}
				return reject("rename one of the two tags in the mapping and replay", "tags %s and %s would both be %s in GetResponse", quoted(other), quoted(name), tag)
			}
			was[key] = name
			*into = append(*into, tag)
		}
		return nil
	}
	if fail := take(tags, &set.add); fail != nil {
		return set, fail
	}
	return set, take(noTags, &set.remove)
}
