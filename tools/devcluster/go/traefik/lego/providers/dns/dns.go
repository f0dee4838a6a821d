// Package dns stands where lego knows well over a hundred providers of DNS and their libraries: none is part of this
// build, which gets no certificates.
package dns

import (
	"context"
	"fmt"
	"time"
)

// Nobody is the provider that there is not.
type Nobody struct{}

// Present is never asked for.
func (Nobody) Present(_ context.Context, domain, _, _ string) error {
	return fmt.Errorf("nobody keeps %s", domain)
}

// CleanUp is never asked for.
func (Nobody) CleanUp(_ context.Context, domain, _, _ string) error {
	return fmt.Errorf("nobody keeps %s", domain)
}

// Timeout is never asked for.
func (Nobody) Timeout() (timeout, interval time.Duration) { return 0, 0 }

// NewDNSChallengeProviderByName knows no name.
func NewDNSChallengeProviderByName(name string) (Nobody, error) {
	return Nobody{}, fmt.Errorf("this build has no DNS provider, so not %q either", name)
}
