package getresponse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// How SEND_MESSAGE sends.
const (
	MessagesNewsletter    = "newsletter"    // a newsletter for one contact
	MessagesTransactional = "transactional" // a transactional e-mail, which the account has to have
)

// Bounds and places of transactional e-mail.
const (
	mailsPath    = "/transactional-emails"
	mailsKnown   = 10_000          // ids of mails that are remembered
	mailSlack    = 5 * time.Minute // how far the clocks of GetResponse and of here may be apart
	contentReady = "direct"        // of contentType: subject and content are in the request
	remedyMail   = "look in GetResponse's log of transactional e-mails whether the message went to this address, and settle it"
)

// mailMade is what is read of the answer to a transactional e-mail.
type mailMade struct {
	ID string `json:"transactionalEmailId"`
}

var errSeveralMails = errors.New("getresponse lists several transactional e-mails of this subject to this address since then, and none says which is this one")

// mailBody is the body that sends a transactional e-mail.
type mailBody struct {
	From       sender            `json:"fromField"`
	ReplyTo    *sender           `json:"replyTo,omitempty"`
	Type       string            `json:"contentType"`
	Recipients mailRecipients    `json:"recipients"`
	Subject    string            `json:"subject"`
	Content    map[string]string `json:"content"`
}

type mailRecipients struct {
	To mailRecipient `json:"to"`
}

type mailRecipient struct {
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
}

// mail sends a transactional e-mail: to the address, whether or not it is on a list. It must not be repeated unless it is
// known not to have been sent.
func (w *writer) mail(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	body, fail := w.mailOf(ctx, cmd)
	if fail != nil {
		// Nothing was sent yet, whatever went wrong.
		return fail.outcome(false)
	}
	r := w.api.call(ctx, http.MethodPost, mailsPath, nil, body)
	var made mailMade
	if r.ok(&made) && made.ID != "" {
		w.mails.add(made.ID, cmd.CommandID)
		return fail.outcome(true)
	}
	fail = classify(r)
	switch fail.code {
	case codeState:
		fail.remedy = "look whether the message's sender is active in GetResponse, and whether the address bounced or is on a blocklist; correct it and replay"
	case codeRelated:
		w.catalogue.forgetSender(ctx)
		fail.remedy = "look whether the message's sender is still there and confirmed in GetResponse, and replay"
	}
	fail.mayHaveHappened()
	return fail.outcome(true)
}

// mailOf is the e-mail that the command wants, with its values in it. The content is sent along rather than a template's
// id: values go into it, and where in the request an id stands is not documented.
func (w *writer) mailOf(ctx context.Context, cmd *schemas.Command) (*mailBody, *failure) {
	email, fail := address(&cmd.Contact)
	if fail != nil {
		return nil, fail
	}
	m, fail := w.letter(ctx, cmd.Effect.Name)
	if fail != nil {
		return nil, fail
	}
	if m.From.ID == "" {
		if m.From, fail = w.catalogue.sender(ctx, w.sender); fail != nil {
			return nil, fail
		}
	}
	if w.sender != "" {
		m.From = sender{w.sender}
	}
	text, fail := m.filled(cmd)
	if fail != nil {
		return nil, fail
	}
	body := &mailBody{From: m.From, Type: contentReady, Subject: text.subject, Content: text.content}
	if m.ReplyTo.ID != "" {
		body.ReplyTo = &m.ReplyTo
	}
	name := strings.TrimSpace(strings.TrimSpace(cmd.Contact.FirstName) + " " + strings.TrimSpace(cmd.Contact.LastName))
	body.Recipients.To = mailRecipient{email, cut(name, contactNameMax)}
	return body, nil
}

// letter returns what a word names: a template of transactional e-mail by its subject or id, or else a message of the
// account. Templates have no name.
func (w *writer) letter(ctx context.Context, word string) (*message, *failure) {
	word = strings.TrimSpace(word)
	if word == "" {
		return nil, reject("name the message in the action, and replay", "the action names no message")
	}
	id, fail := w.templateID(ctx, word)
	switch {
	case fail != nil:
		return nil, fail
	case id == "":
		return w.message(ctx, word)
	}
	r := w.api.call(ctx, http.MethodGet, mailsPath+"/templates/"+url.PathEscape(id), nil, nil)
	var t struct {
		ID      string `json:"templateId"`
		Subject string `json:"subject"`
		Content struct {
			HTML  string `json:"html"`
			Plain string `json:"plain"`
		} `json:"content"`
	}
	if !r.ok(&t) || t.ID != id {
		return nil, notThere(classify(r), word)
	}
	m := &message{ID: t.ID, Name: t.Subject, Subject: t.Subject}
	m.Content.HTML, m.Content.Plain = t.Content.HTML, t.Content.Plain
	return m, nil
}

// notThere turns "not found" into what a person can do about it.
func notThere(fail *failure, word string) *failure {
	if fail.code == codeNotFound {
		return reject("name one of the account's messages in the action, and replay", "there is no message %s in getresponse", quoted(word))
	}
	return fail
}

// templateID finds a template; "": there is none.
func (w *writer) templateID(ctx context.Context, word string) (string, *failure) {
	var byID string
	var bySubject []string
	fail := w.templates(ctx, func(id, subject string) {
		if id == word {
			byID = id
		}
		if strings.EqualFold(strings.TrimSpace(subject), word) {
			bySubject = append(bySubject, id)
		}
	})
	switch {
	case fail != nil:
		return "", fail
	case len(bySubject) > 1:
		return "", reject("name the template by its id in the action, and replay", "getresponse has several templates of the subject %s", quoted(word))
	case len(bySubject) == 1:
		return bySubject[0], nil
	}
	return byID, nil
}

func (w *writer) templates(ctx context.Context, each func(id, subject string)) *failure {
	return w.api.pages(ctx, mailsPath+"/templates", nil, fieldsPerPage, func(body []byte) (int, error) {
		var page []struct {
			ID      string `json:"templateId"`
			Subject string `json:"subject"`
		}
		err := json.Unmarshal(body, &page)
		for _, t := range page {
			each(t.ID, t.Subject)
		}
		return len(page), err
	})
}

// sender returns the account's default sender, unless a setting names one.
func (c *catalogue) sender(ctx context.Context, named string) (sender, *failure) {
	if named != "" {
		return sender{named}, nil
	}
	if fail := c.turn.take(ctx); fail != nil {
		return sender{}, fail
	}
	defer c.turn.give()
	if c.from.ID != "" && c.now().Sub(c.fromAt) < catalogueAge {
		return c.from, nil
	}
	var found sender
	fail := c.api.pages(ctx, "/from-fields", url.Values{"query[isDefault]": {"true"}}, fieldsPerPage, func(body []byte) (int, error) {
		var page []sender
		err := json.Unmarshal(body, &page)
		if found.ID == "" && len(page) > 0 {
			found = page[0]
		}
		return len(page), err
	})
	if fail == nil && found.ID == "" {
		fail = reject("make a default sender in GetResponse, or name one in the setting sender, and replay", "the account has no default sender")
	}
	if fail == nil {
		c.from, c.fromAt = found, c.now()
	}
	return found, fail
}

func (c *catalogue) forgetSender(ctx context.Context) {
	if c.turn.take(ctx) != nil {
		return
	}
	defer c.turn.give()
	c.from = sender{}
}

// mailed is Reconcile for transactional e-mail. GetResponse lists them by time, with recipient and subject, and with
// nothing of ours; so those count that went to this address with this subject since the command was made and are not
// known to be another command's, of this process or recalled. None: it was not sent. One: it was. Several, or a command without a time: nobody can say.
func (w *writer) mailed(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	body, fail := w.mailOf(ctx, cmd)
	if fail != nil {
		o := fail.outcome(false)
		if o.Kind == sinks.Rejected {
			// The message is gone or changed since. That says nothing about whether it was sent.
			o = sinks.Outcome{Kind: sinks.Unknown, Err: fmt.Errorf("whether the message was sent cannot be seen: %w", fail), Remedy: remedyMail}
		}
		return o
	}
	if cmd.At.IsZero() {
		return sinks.Outcome{Kind: sinks.Unknown, Err: errSeveralMails, Remedy: remedyMail}
	}
	n, own, known := 0, "", false
	since := url.Values{"query[sentOn][from]": {cmd.At.Add(-mailSlack).UTC().Format(timeForm)}}
	fail = w.api.pages(ctx, mailsPath, since, rowsPerPage, func(page []byte) (int, error) {
		var rows []struct {
			ID         string         `json:"transactionalEmailId"`
			Subject    string         `json:"subject"`
			Recipients mailRecipients `json:"recipients"`
		}
		err := json.Unmarshal(page, &rows)
		for _, x := range rows {
			switch whose := w.mails.whose(x.ID); {
			case whose == cmd.CommandID:
				known = true
			case whose == "" && strings.EqualFold(x.Recipients.To.Email, body.Recipients.To.Email) && x.Subject == body.Subject:
				n, own = n+1, x.ID
			}
		}
		return len(rows), err
	})
	switch {
	case known:
		return sinks.Outcome{Kind: sinks.Delivered}
	case fail != nil:
		return fail.outcome(false)
	case n == 0:
		return sinks.Outcome{Kind: sinks.NotHappened}
	case n == 1 && w.unnamed.whose(cmd.ContactKey) == "":
		w.mails.add(own, cmd.CommandID)
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	return sinks.Outcome{Kind: sinks.Unknown, Err: errSeveralMails, Remedy: remedyMail}
}

// Recall implements sinks.Recaller: the e-mails that other processes sent to a contact are known by the ids that their
// receipts tell. A receipt that tells of one without its id, because its answer was lost, leaves a doubt about every e-mail
// to the contact that is not known.
func (w *writer) Recall(deliveries []*schemas.Delivery) {
	for _, d := range deliveries {
		if d.Kind != schemas.CommandEffect || d.Outcome != schemas.OutcomeDelivered && d.Outcome != schemas.OutcomeUncertain {
			continue
		}
		id, about := "", false
		for _, x := range d.Requests {
			if path, _, _ := strings.Cut(x.URL, "?"); !strings.HasSuffix(path, mailsPath) {
				continue
			}
			about = true
			var made mailMade
			if x.Method == http.MethodPost && json.Unmarshal([]byte(x.Response), &made) == nil && made.ID != "" {
				id = made.ID
			}
		}
		switch {
		case id != "":
			w.mails.add(id, d.CommandID)
		case about:
			w.unnamed.add(d.ContactKey, d.CommandID)
		}
	}
}

// idSet remembers whose command ids are; the oldest go first.
type idSet struct {
	mu    sync.Mutex
	max   int
	known map[string]string
	order []string
}

func newIDSet(max int) *idSet { return &idSet{max: max, known: map[string]string{}} }

func (s *idSet) add(id, commandID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[id]; ok {
		return
	}
	if len(s.order) >= s.max {
		delete(s.known, s.order[0])
		s.order = s.order[1:]
	}
	s.known[id] = commandID
	s.order = append(s.order, id)
}

// whose is the command's id; empty: not known.
func (s *idSet) whose(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[id]
}
