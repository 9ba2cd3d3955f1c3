package getresponse

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of transactional e-mail.
const (
	recipientsMax = 8
	mailBytesMax  = 16 << 20
	defaultSender = "F1"
)

// template is one of transactional e-mail. Server.mu guards it.
type template struct {
	id, subject string
	content     messageContent
	created     time.Time
}

func (t *template) listed() object {
	return object{
		"templateId": t.id, "href": "https://api.getresponse.com/v3/transactional-emails/templates/" + t.id, "subject": t.subject,
		"createdOn": stamp(t.created), "updatedOn": stamp(t.created), "editor": "html",
	}
}

func (t *template) show() object {
	out := t.listed()
	out["content"] = t.content
	return out
}

// mail is one transactional e-mail that went out.
type mail struct {
	id, sender, tag, subject string
	to                       recipient
	copies                   []recipient
	content                  messageContent
	sent                     time.Time
	status                   string
}

type recipient struct {
	Email  string `json:"email"`
	Name   string `json:"name,omitempty"`
	Status string `json:"status,omitempty"`
}

func (m *mail) listed() object {
	to := m.to
	to.Status = m.status
	out := object{
		"transactionalEmailId": m.id, "href": "https://api.getresponse.com/v3/transactional-emails/" + m.id, "subject": m.subject,
		"fromField": object{"fromFieldId": m.sender}, "recipients": object{"to": to, "cc": m.copies},
	}
	if m.tag != "" {
		out["tag"] = object{"tagId": m.tag}
	}
	return out
}

func (m *mail) show() object {
	out := m.listed()
	out["recipients"] = object{"to": object{
		"email": m.to.Email, "name": m.to.Name, "status": m.status, "statuses": object{"sentOn": stamp(m.sent)}, "clickedLinks": []object{},
	}}
	return out
}

// addOn refuses an account that has not paid for transactional e-mail.
func (s *Server) addOn() error {
	if s.o.WithoutTransactional {
		return refuse(403, 1023, "Forbidden", "You have no permission to use transactional e-mails", nil)
	}
	return nil
}

// AddTemplate has a person make a template of transactional e-mail, and returns its id.
func (s *Server) AddTemplate(subject, html, plain string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &template{id: s.id(), subject: subject, content: messageContent{html, plain}, created: s.o.Now()}
	s.templates = append(s.templates, t)
	return t.id
}

func (s *Server) listTemplates(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[subject]", "sort[createdOn]", "sort[subject]"); err != nil {
		return answerTo{}, err
	}
	if err := s.addOn(); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	want := strings.ToLower(r.URL.Query().Get("query[subject]"))
	var list []*template
	for _, t := range s.templates {
		if strings.Contains(strings.ToLower(t.subject), want) {
			list = append(list, t)
		}
	}
	return paged(r, list, (*template).listed)
}

func (s *Server) getTemplate(r *http.Request, _ []byte) (answerTo, error) {
	if err := s.addOn(); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.templates {
		if t.id == r.PathValue("id") {
			return answerTo{status: 200, body: t.show()}, nil
		}
	}
	return answerTo{}, notFound("templateId", r.PathValue("id"))
}

func (s *Server) listSenders(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[email]", "query[name]", "query[isDefault]", "query[isActive]", "sort[createdOn]"); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return paged(r, []string{defaultSender}, func(id string) object {
		return object{
			"fromFieldId": id, "href": "https://api.getresponse.com/v3/from-fields/" + id, "email": "hello@shop.example", "rewrittenEmail": "", "name": "Shop",
			"isActive": "true", "isDefault": "true", "createdOn": "2020-01-02T03:04:05+0000",
		}
	})
}

// listMails filters by the time of sending; the other filters are those of tags.
func (s *Server) listMails(r *http.Request, _ []byte) (answerTo, error) {
	if err := known(r, "query[sentOn][from]", "query[sentOn][to]", "query[tagged]", "query[tagId]"); err != nil {
		return answerTo{}, err
	}
	if err := s.addOn(); err != nil {
		return answerTo{}, err
	}
	q := r.URL.Query()
	from, to := time.Time{}, time.Time{}
	for name, t := range map[string]*time.Time{"query[sentOn][from]": &from, "query[sentOn][to]": &to} {
		if !q.Has(name) {
			continue
		}
		at, err := time.Parse("2006-01-02T15:04:05-0700", q.Get(name))
		if err != nil {
			return answerTo{}, refuse(400, 1003, "Wrong format", "The date has another format", object{"fieldName": name})
		}
		*t = at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*mail
	for _, m := range s.mails {
		at := m.sent.Truncate(time.Second)
		if at.Before(from) || !to.IsZero() && at.After(to) || q.Has("query[tagId]") && q.Get("query[tagId]") != m.tag {
			continue
		}
		list = append(list, m)
	}
	return paged(r, list, (*mail).listed)
}

func (s *Server) getMail(r *http.Request, _ []byte) (answerTo, error) {
	if err := s.addOn(); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mails {
		if m.id == r.PathValue("id") {
			return answerTo{status: 200, body: m.show()}, nil
		}
	}
	return answerTo{}, notFound("transactionalEmailId", r.PathValue("id"))
}

// mailBody is what sending takes: a content, or the id of a template.
type mailBody struct {
	From       *fromField `json:"fromField"`
	ReplyTo    *fromField `json:"replyTo"`
	Tag        *tagRef    `json:"tag"`
	Type       string     `json:"contentType"`
	Recipients *struct {
		To *recipient  `json:"to"`
		CC []recipient `json:"cc"`
		BC []recipient `json:"bcc"`
	} `json:"recipients"`
	Subject  string          `json:"subject"`
	Content  *messageContent `json:"content"`
	Template *struct {
		ID string `json:"templateId"`
	} `json:"template"`
}

// createMail sends at once, to anybody: a transactional e-mail needs no contact and no list. That the answer is 201, and
// where a template's id stands, GetResponse does not say.
func (s *Server) createMail(_ *http.Request, body []byte) (answerTo, error) {
	var in mailBody
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	if err := s.addOn(); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.mailOf(&in)
	if err != nil {
		return answerTo{}, err
	}
	m.id, m.sent, m.status = s.id(), s.o.Now(), "sent"
	s.mails = append(s.mails, m)
	return answerTo{status: 201, body: object{"transactionalEmailId": m.id}}, nil
}

// mailOf checks what is to be sent. s.mu is held.
func (s *Server) mailOf(in *mailBody) (*mail, error) {
	missing := func(name string) error {
		return refuse(400, 1005, "Value is missing", "Required value is missing", object{"fieldName": name})
	}
	switch {
	case in.From == nil:
		return nil, missing("fromField")
	case in.From.ID != defaultSender:
		return nil, related("fromField", in.From.ID)
	case in.Recipients == nil || in.Recipients.To == nil:
		return nil, missing("recipients")
	case !emailForm.MatchString(in.Recipients.To.Email):
		return nil, invalid("email", "Value is not a valid email address")
	case 1+len(in.Recipients.CC)+len(in.Recipients.BC) > recipientsMax:
		return nil, refuse(400, 1004, "Array bounds", "Too many recipients", object{"fieldName": "recipients"})
	case among(s.faults.Reject, in.Recipients.To.Email):
		return nil, refuse(400, 1002, "State of the resource does not allow the action", "The recipient cannot be written to", object{"fieldName": "recipients"})
	}
	m := &mail{
		sender: in.From.ID, subject: in.Subject, to: *in.Recipients.To, copies: slices.Concat(in.Recipients.CC, in.Recipients.BC),
	}
	if in.Tag != nil {
		if m.tag = in.Tag.TagID; s.tagByID(m.tag) == nil {
			return nil, related("tag", m.tag)
		}
	}
	switch {
	case in.Type == "direct" && in.Content != nil && in.Content.HTML+in.Content.Plain != "":
		m.content = *in.Content
		if utf8.RuneCountInString(m.subject) < messageCharsMin || len(m.content.HTML)+len(m.content.Plain) > mailBytesMax {
			return nil, invalid("subject", "The subject or the content is out of its bounds")
		}
		return m, nil
	case in.Type == "template" && in.Template != nil:
		i := slices.IndexFunc(s.templates, func(t *template) bool { return t.id == in.Template.ID })
		if i < 0 {
			return nil, related("template", in.Template.ID)
		}
		m.subject, m.content = s.templates[i].subject, s.templates[i].content
		return m, nil
	}
	return nil, invalid("contentType", "It is direct with content, or template with template")
}

// Mail is one transactional e-mail that went out.
type Mail struct {
	ID      string    `json:"id"`
	Email   string    `json:"email"`
	Name    string    `json:"name"`
	Subject string    `json:"subject"`
	HTML    string    `json:"html"`
	Plain   string    `json:"plain"`
	At      time.Time `json:"at"`
}

// Mails returns the transactional e-mails that went out, in order.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Mail, len(s.mails))
	for i, m := range s.mails {
		out[i] = Mail{m.id, m.to.Email, m.to.Name, m.subject, m.content.HTML, m.content.Plain, m.sent}
	}
	return out
}
