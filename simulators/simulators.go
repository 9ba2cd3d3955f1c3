// Package simulators is the folder of twins of the providers and CRMs that Tillstream talks to: real HTTP servers with
// the real limits, errors and bad habits, built from what is documented of the originals. The demo, the tests and a
// developer's machine use them; nothing else imports them.
//
// A twin keeps its own truth (what it sent, what it was told) and hands it out, so that an auditor can fold it without
// trusting the code under test.
package simulators
