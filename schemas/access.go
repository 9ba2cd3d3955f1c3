package schemas

import "time"

// AccessUser is somebody who may sign in. On access, keyed by Key; a tombstone removes the user.
type AccessUser struct {
	Name       string    `avro:"name"`
	Role       string    `avro:"role"`     // viewer, operator or admin
	Password   string    `avro:"password"` // Argon2id hash in the PHC form; empty: nobody can sign in with one
	MadeBy     string    `avro:"made_by"`
	MadeAt     time.Time `avro:"made_at"`
	PasswordAt time.Time `avro:"password_at"` // sessions from before end
}

// RecordName implements Record.
func (*AccessUser) RecordName() string { return "AccessUser" }

// Key is the Kafka key of the user.
func (u *AccessUser) Key() string { return "user/" + u.Name }

// AccessSession is a sign-in on the page. On access, keyed by Key; a tombstone ends it.
type AccessSession struct {
	Hash    string    `avro:"hash"` // SHA-256 of the cookie's value, in hex
	User    string    `avro:"user"`
	Address string    `avro:"address"` // where the sign-in came from
	MadeAt  time.Time `avro:"made_at"`
	SeenAt  time.Time `avro:"seen_at"` // to a few minutes
}

// RecordName implements Record.
func (*AccessSession) RecordName() string { return "AccessSession" }

// Key is the Kafka key of the session.
func (s *AccessSession) Key() string { return "session/" + s.Hash }

// AccessToken is what a program signs in with. On access, keyed by Key; a tombstone revokes it.
type AccessToken struct {
	ID        string    `avro:"id"`
	Name      string    `avro:"name"` // what it is for
	Hash      string    `avro:"hash"` // SHA-256 of the token, in hex
	Role      string    `avro:"role"` // viewer, operator or admin
	MadeBy    string    `avro:"made_by"`
	MadeAt    time.Time `avro:"made_at"`
	ExpiresAt time.Time `avro:"expires_at"` // zero: never
	UsedAt    time.Time `avro:"used_at"`    // to a few minutes; zero: never
}

// RecordName implements Record.
func (*AccessToken) RecordName() string { return "AccessToken" }

// Key is the Kafka key of the token.
func (t *AccessToken) Key() string { return "token/" + t.ID }

// AuditEntry says who changed, exported or unmasked what, or tried to. On audit.log, keyed by id. It holds no secret, and
// personal data only masked.
type AuditEntry struct {
	ID      string    `avro:"id"` // request id that the answer bore
	At      time.Time `avro:"at"`
	Who     string    `avro:"who"`
	Via     string    `avro:"via"`  // page, token, or local: without sign-in
	Role    string    `avro:"role"` // that was used; empty: none
	Address string    `avro:"address"`
	Action  string    `avro:"action"` // method and pattern of the route
	Subject string    `avro:"subject"`
	Before  string    `avro:"before"` // JSON
	After   string    `avro:"after"`  // JSON: the state after, or what was asked
	Outcome string    `avro:"outcome"`
	Detail  string    `avro:"detail"` // code of the refusal
}

// RecordName implements Record.
func (*AuditEntry) RecordName() string { return "AuditEntry" }
