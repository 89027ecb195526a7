package kafka

import "reflect"

// Kept is a client that is kept while its options stay the same. It is not safe for concurrent use; the
// client is.
type Kept struct {
	options Options
	client  *Client
}

// Client returns the client for the options. One for others is closed.
func (k *Kept) Client(o Options) (*Client, error) {
	if k.client != nil && reflect.DeepEqual(k.options, o) {
		return k.client, nil
	}
	k.Close()
	client, err := NewClient(o)
	if err != nil {
		return nil, err
	}
	k.options, k.client = o, client
	return client, nil
}

// Close closes the client, if there is one.
func (k *Kept) Close() {
	if k.client != nil {
		k.client.Close()
		k.client = nil
	}
}
