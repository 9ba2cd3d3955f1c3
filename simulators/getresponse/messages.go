package getresponse

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a newsletter's name and subject.
const (
	messageCharsMin = 2
	messageCharsMax = 128
)

// newsletter is a message of the account: a draft, or one that is sent. Server.mu guards it.
type newsletter struct {
	id, name, kind, subject, from string
	content                       messageContent
	flags, attachments            []string
	list                          *list
	created                       time.Time
}

type messageContent struct {
	HTML  string `json:"html"`
	Plain string `json:"plain"`
}

func (n *newsletter) listed() object {
	return object{
		"newsletterId": n.id, "href": "https://api.getresponse.com/v3/newsletters/" + n.id, "name": n.name, "type": n.kind, "status": "enabled", "editor": "custom",
		"subject": n.subject, "campaign": n.list.reference(), "createdOn": stamp(n.created), "flags": strings.Join(n.flags, ","),
	}
}

func (n *newsletter) show() object {
	out := n.listed()
	attachments := []object{}
	for _, name := range n.attachments {
		attachments = append(attachments, object{"fileName": name, "mimeType": "application/pdf"})
	}
	out["fromField"] = object{"fromFieldId": n.from, "href": "https://api.getresponse.com/v3/from-fields/" + n.from}
	out["content"], out["flags"], out["attachments"] = n.content, n.flags, attachments
	return out
}

// Message is one message that one person got.
type Message struct {
	Newsletter string    `json:"newsletter"` // id
	Name       string    `json:"name"`       // of the newsletter
	Email      string    `json:"email"`
	Subject    string    `json:"subject"`
	HTML       string    `json:"html"`
	Plain      string    `json:"plain"`
	At         time.Time `json:"at"`
}

// Messages returns the messages that went out, in order.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Draft is a message that a person writes in the panel.
type Draft struct {
	Name, Subject, HTML, Plain string
	Attachments                []string // names of files
	WithoutSender              bool
}

// AddDraft has a person write a draft, and returns its id.
func (s *Server) AddDraft(d Draft) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &newsletter{
		id: s.id(), name: d.Name, kind: "draft", subject: d.Subject, from: "F1", content: messageContent{d.HTML, d.Plain}, flags: []string{"openrate", "clicktrack"},
		attachments: d.Attachments, list: s.lists[0], created: s.o.Now(),
	}
	if d.WithoutSender {
		n.from = ""
	}
	s.newsletters = append(s.newsletters, n)
	return n.id
}

func (s *Server) listNewsletters(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[name]", "query[subject]", "query[type]", "query[campaignId]", "sort[createdOn]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return paged(r, named(r, s.newsletters, func(n *newsletter) string { return n.name }), (*newsletter).listed)
}

func (s *Server) getNewsletter(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.newsletters {
		if n.id == r.PathValue("id") {
			return answerTo{status: 200, body: n.show()}, nil
		}
	}
	return answerTo{}, notFound("newsletterId", r.PathValue("id"))
}

// createNewsletter sends at once to the contacts that it names. Selections by list and segment, and dates, the twin does
// not know.
func (s *Server) createNewsletter(_ *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Name    string          `json:"name"`
		Type    string          `json:"type"`
		Subject string          `json:"subject"`
		From    *fromField      `json:"fromField"`
		ReplyTo *fromField      `json:"replyTo"`
		List    *listRef        `json:"campaign"`
		Content *messageContent `json:"content"`
		Flags   []string        `json:"flags"`
		Send    *struct {
			Contacts      []string `json:"selectedContacts"`
			TimeTravel    string   `json:"timeTravel"`
			PerfectTiming string   `json:"perfectTiming"`
		} `json:"sendSettings"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	fits := func(text string) bool {
		n := utf8.RuneCountInString(text)
		return n >= messageCharsMin && n <= messageCharsMax
	}
	switch {
	case !fits(in.Name) || !fits(in.Subject):
		return answerTo{}, invalid("subject", "Name and subject take 2 to 128 characters")
	case in.From == nil || in.List == nil || in.Content == nil || in.Send == nil || len(in.Send.Contacts) == 0:
		return answerTo{}, refuse(400, 1005, "Value is missing", "Required value is missing", object{"fieldName": "sendSettings"})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listByID(in.List.CampaignID)
	if l == nil {
		return answerTo{}, related("campaign", in.List.CampaignID)
	}
	if in.From.ID != "F1" {
		return answerTo{}, related("fromField", in.From.ID)
	}
	n := &newsletter{id: s.id(), name: in.Name, kind: "broadcast", subject: in.Subject, from: in.From.ID, content: *in.Content, flags: in.Flags, list: l, created: s.o.Now()}
	var to []Message
	for _, id := range in.Send.Contacts {
		c := s.contacts[id]
		if c == nil || !c.shown(s.o.Now()) {
			return answerTo{}, related("contact", id)
		}
		to = append(to, Message{Newsletter: n.id, Name: n.name, Email: c.email, Subject: n.subject, HTML: n.content.HTML, Plain: n.content.Plain, At: n.created})
	}
	s.newsletters, s.messages = append(s.newsletters, n), append(s.messages, to...)
	return answerTo{status: 201, body: n.show()}, nil
}

type fromField struct {
	ID string `json:"fromFieldId"`
}
