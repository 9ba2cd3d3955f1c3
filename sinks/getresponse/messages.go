package getresponse

import (
	"context"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Bounds of a message.
const (
	messageNameMax = 128
	subjectMax     = 128
	markerMax      = 80
	markerPrefix   = "tillstream-"
	draftType      = "draft"
	remedyMessage  = "correct the message in GetResponse, or name another one in the action, and replay"
)

// send sends a message of the account to one contact: GetResponse sends no message twice, so that a newsletter of the same
// content goes to this contact alone. Its name holds the command's id, by which it is found again. It must not be repeated
// unless it is known not to have been sent.
func (w *writer) send(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	email, fail := address(&cmd.Contact)
	if fail != nil {
		return fail.outcome(false)
	}
	to, fail := w.reader(ctx, email)
	if fail != nil {
		return fail.outcome(false)
	}
	m, fail := w.message(ctx, cmd.Effect.Name)
	if fail != nil {
		return fail.outcome(false)
	}
	body, fail := m.forOne(cmd, to)
	if fail != nil {
		return fail.outcome(false)
	}
	r := w.api.call(ctx, http.MethodPost, "/newsletters", nil, body)
	var made struct {
		ID string `json:"newsletterId"`
	}
	if r.ok(&made) && made.ID != "" {
		return fail.outcome(true)
	}
	fail = classify(r)
	switch fail.code {
	case codeState:
		fail.remedy = "activate the message's sender in GetResponse, and replay"
	case codeRelated:
		w.people.forget(email)
		fail.remedy = "look whether the message's sender and the contact are still there in GetResponse, and replay"
	}
	fail.mayHaveHappened()
	return fail.outcome(true)
}

// reader is the contact who is to get a message. Nobody is put on a list for it.
func (w *writer) reader(ctx context.Context, email string) (*details, *failure) {
	to, fail := w.person(ctx, email)
	if fail != nil || to != nil {
		return to, fail
	}
	if asked := w.people.get(email).created; !asked.IsZero() && w.now().Sub(asked) < queuePatience {
		return nil, w.waiting(w.people.looked(email))
	}
	return nil, reject("nothing to repeat if the person left; else add the contact to a list first, and replay",
		"the contact is on no list: getresponse sends messages only to contacts on a list")
}

// message is one of the account's: a draft, or one that was sent before.
type message struct {
	ID      string `json:"newsletterId"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Subject string `json:"subject"`
	From    sender `json:"fromField"`
	ReplyTo sender `json:"replyTo"`
	Content struct {
		HTML  string `json:"html"`
		Plain string `json:"plain"`
	} `json:"content"`
	Flags       json.RawMessage   `json:"flags"`
	Attachments []json.RawMessage `json:"attachments"`
}

type sender struct {
	ID string `json:"fromFieldId"`
}

// message returns the message that a word names, which is read each time: people edit them.
func (w *writer) message(ctx context.Context, word string) (*message, *failure) {
	word = strings.TrimSpace(word)
	if word == "" {
		return nil, reject("name the message in the action, and replay", "the action names no message")
	}
	id, fail := w.messageID(ctx, word)
	if fail != nil {
		return nil, fail
	}
	r := w.api.call(ctx, http.MethodGet, "/newsletters/"+url.PathEscape(id), nil, nil)
	var m message
	if r.ok(&m) && m.ID == id {
		return &m, nil
	}
	return nil, notThere(classify(r), word)
}

// messageID finds a message by its name; a draft goes before those that were sent. What has no such name is taken for an
// id, if it has the form of one.
func (w *writer) messageID(ctx context.Context, word string) (string, *failure) {
	var drafts, sent []string
	fail := w.api.pages(ctx, "/newsletters", url.Values{"query[name]": {word}}, rowsPerPage, func(body []byte) (int, error) {
		var page []message
		err := json.Unmarshal(body, &page)
		for _, m := range page {
			// The filter is a pattern, so that others come too.
			switch {
			case !strings.EqualFold(strings.TrimSpace(m.Name), word):
			case m.Type == draftType:
				drafts = append(drafts, m.ID)
			default:
				sent = append(sent, m.ID)
			}
		}
		return len(page), err
	})
	switch {
	case fail != nil:
		return "", fail
	case len(drafts) == 1:
		return drafts[0], nil
	case len(drafts) == 0 && len(sent) == 1:
		return sent[0], nil
	case len(drafts)+len(sent) > 0:
		return "", reject("rename all but one of them in GetResponse, and replay", "getresponse has several messages of the name %s", quoted(word))
	case idForm.MatchString(word):
		return word, nil
	}
	return "", reject("name one of the account's messages in the action, and replay", "there is no message %s in getresponse", quoted(word))
}

// marker is what the name of a command's newsletter ends with.
func marker(cmd *schemas.Command) string { return markerPrefix + cut(cmd.CommandID, markerMax) }

// newsletter is the body that sends one.
type newsletter struct {
	Name     string            `json:"name"`
	Type     string            `json:"type"`
	Subject  string            `json:"subject"`
	From     sender            `json:"fromField"`
	ReplyTo  *sender           `json:"replyTo,omitempty"`
	Campaign campaign          `json:"campaign"`
	Content  map[string]string `json:"content"`
	Flags    []string          `json:"flags,omitempty"`
	Settings struct {
		Contacts []string `json:"selectedContacts"`
	} `json:"sendSettings"`
}

// letterText is what a person reads of a message.
type letterText struct {
	subject string
	content map[string]string
}

// filled is the message with the command's values in it.
func (m *message) filled(cmd *schemas.Command) (letterText, *failure) {
	switch {
	case m.Content.HTML == "" && m.Content.Plain == "":
		return letterText{}, reject(remedyMessage, "the message %s is empty", quoted(m.Name))
	case len(m.Attachments) > 0:
		return letterText{}, reject(remedyMessage, "the message %s has attachments, which cannot be repeated", quoted(m.Name))
	}
	values := cmd.Effect.Arguments
	var missing string
	out := letterText{content: map[string]string{}}
	out.subject = cut(strings.Join(strings.Fields(fill(m.Subject, values, inText, &missing)), " "), subjectMax)
	if m.Content.HTML != "" {
		out.content["html"] = fill(m.Content.HTML, values, inHTML, &missing)
	}
	if m.Content.Plain != "" {
		out.content["plain"] = fill(m.Content.Plain, values, inText, &missing)
	}
	if missing != "" {
		return letterText{}, reject("give the value in the action, or take it out of the message, and replay", "the message %s has a place for %s, and the action has no such value", quoted(m.Name), quoted(missing))
	}
	return out, nil
}

// forOne is the newsletter for one contact, with the command's values in it.
func (m *message) forOne(cmd *schemas.Command, to *details) (*newsletter, *failure) {
	if m.From.ID == "" {
		return nil, reject(remedyMessage, "the message %s has no sender", quoted(m.Name))
	}
	text, fail := m.filled(cmd)
	if fail != nil {
		return nil, fail
	}
	mark := " " + marker(cmd)
	n := &newsletter{
		Name: cut(m.Name, messageNameMax-utf8.RuneCountInString(mark)) + mark, Type: "broadcast", From: m.From, Campaign: to.Campaign,
		Subject: text.subject, Content: text.content,
	}
	if m.ReplyTo.ID != "" {
		n.ReplyTo = &m.ReplyTo
	}
	_ = json.Unmarshal(m.Flags, &n.Flags) // lists show flags as a text; a message without them is sent without
	n.Settings.Contacts = []string{to.ID}
	return n, nil
}

// place is where a value goes in a message: %%name%%. GetResponse gives it no meaning of its own, and leaves it alone.
var place = regexp.MustCompile(`%%([A-Za-z0-9_.]{1,64})%%`)

// fill puts values into a text. missing is set to the first name without a value.
func fill(text string, values map[string]string, escape func(string) string, missing *string) string {
	return place.ReplaceAllStringFunc(text, func(found string) string {
		name := strings.Trim(found, "%")
		value, ok := values[name]
		if !ok && *missing == "" {
			*missing = name
		}
		return escape(value)
	})
}

// A value is data: it must neither be markup, nor one of GetResponse's merge words, [[...]] and {{...}}. Workflows escape
// what they put into values for HTML, which is undone first, so that a value escaped and one as it is come out alike.
var (
	breakHTML = strings.NewReplacer("[", "&#91;", "]", "&#93;", "{", "&#123;", "}", "&#125;")
	breakText = strings.NewReplacer("[[", "[ [", "]]", "] ]", "{{", "{ {", "}}", "} }")
)

func inHTML(value string) string {
	return breakHTML.Replace(html.EscapeString(html.UnescapeString(value)))
}

// inText breaks pairs, twice because three brackets hold two, and keeps a bracket at an end from making one with what
// stands beside the place.
func inText(value string) string {
	const brackets = "[]{}"
	out := breakText.Replace(breakText.Replace(html.UnescapeString(value)))
	if out == "" {
		return ""
	}
	if strings.Contains(brackets, out[:1]) {
		out = " " + out
	}
	if strings.Contains(brackets, out[len(out)-1:]) {
		out += " "
	}
	return out
}

// sent is Reconcile for messages: whether there is a newsletter with the command's id in its name.
func (w *writer) sent(ctx context.Context, cmd *schemas.Command) (found bool, fail *failure) {
	mark := marker(cmd)
	fail = w.api.pages(ctx, "/newsletters", url.Values{"query[name]": {mark}}, rowsPerPage, func(body []byte) (int, error) {
		var page []message
		err := json.Unmarshal(body, &page)
		for _, m := range page {
			found = found || strings.HasSuffix(m.Name, mark)
		}
		return len(page), err
	})
	return found, fail
}
