package getresponse

import (
	"net/http"
	"strings"
	"time"
)

// Bounds of contacts/batch, which has limits of its own beside the account's.
const (
	batchPattern     = "POST /v3/contacts/batch"
	batchContactsMax = 1000
	batchesWindowMax = 80
	batchesSecondMax = 1
)

// createContacts takes up to a thousand contacts for one list into the queue. A contact that is on the list stays as it
// is: whether GetResponse updates it, is not documented, and its older documents speak of new contacts only. One that
// could not be created alone is dropped silently, as the queue drops.
func (s *Server) createContacts(_ *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Campaign string `json:"campaignId"`
		Contacts []struct {
			Email     string `json:"email"`
			Name      string `json:"name"`
			Day       string `json:"dayOfCycle"`
			IPAddress string `json:"ipAddress"`
			Tags      *struct {
				IDs []string `json:"ids"`
			} `json:"tags"`
			Values []valueOf `json:"customFieldValues"`
		} `json:"contacts"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.batchAllowed(); err != nil {
		return answerTo{}, err
	}
	if n := len(in.Contacts); n == 0 || n > batchContactsMax {
		return answerTo{}, refuse(400, 1004, "Array bounds", "1 to 1000 contacts", object{"fieldName": "contacts"})
	}
	l := s.listByID(in.Campaign)
	if l == nil {
		return answerTo{}, related("campaign", in.Campaign)
	}
	for _, one := range in.Contacts {
		parts := &contactBody{Values: &one.Values}
		if one.Name != "" {
			parts.Name = &one.Name
		}
		if one.Tags != nil {
			tags := []tagRef{}
			for _, id := range one.Tags.IDs {
				tags = append(tags, tagRef{id})
			}
			parts.Tags = &tags
		}
		email := strings.ToLower(one.Email)
		if !emailForm.MatchString(email) || s.checkParts(parts) != nil || s.blocklisted(email) || s.onList(email, l) != nil || s.dropped(email) {
			continue
		}
		c := s.addContact(one.Email, "", l)
		c.visible, c.unconfirmed = s.o.Now().Add(s.o.CreateDelay), l.double
		s.apply(c, parts)
	}
	return answerTo{status: http.StatusAccepted}, nil
}

// batchAllowed keeps the limits of batches. s.mu is held, and the request is counted already.
func (s *Server) batchAllowed() error {
	if s.o.Unlimited {
		return nil
	}
	switch {
	case s.batches.second > batchesSecondMax:
		s.stats.TooMany++
		return throttled(batchesSecondMax, time.Second)
	case s.batches.count > batchesWindowMax:
		s.stats.TooMany++
		return throttled(batchesWindowMax, Window)
	}
	return nil
}
