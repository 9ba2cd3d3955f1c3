package api

import (
	"net/http"

	"github.com/tillstream/tillstream/pipeline/access"
)

// maySeePersons refuses who may not see what names a person.
func maySeePersons(r *http.Request) error {
	if p := unmasks(asker(r)); p != nil {
		return p
	}
	return nil
}

// unmasks refuses a role that sees people's addresses masked.
func unmasks(who access.Principal) *Problem {
	if who.Name != "" && roleOf(who.Role) < Operator {
		return Refuse(CodeRole, "%s has the role %s, and to see people unmasked needs %s", who.Name, who.Role, Operator)
	}
	return nil
}

// signedIn is the name of who asks; empty where nobody has to sign in.
func signedIn(r *http.Request) string {
	if who := asker(r); who.Via != access.ViaLocal {
		return who.Name
	}
	return ""
}
