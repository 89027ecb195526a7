package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Rights are what the client's user may do with a topic.
type Rights struct {
	// Known is false when the brokers do not say: they are older than 2.3, or there is no such topic.
	Known bool
	// Read and Write are what consumers and producers need, besides seeing the topic.
	Read, Write bool
}

// Numbers of operations in access control lists, and the answer of brokers that do not say
// (org.apache.kafka.common.acl.AclOperation, KIP-430).
const (
	operationRead, operationWrite = 3, 4
	unsaid                        = -1 << 31
)

// Rights asks what the client's user may do with topics. The result has an entry for each name.
func (c *Client) Rights(ctx context.Context, topics ...string) (map[string]Rights, error) {
	out := make(map[string]Rights, len(topics))
	if len(topics) == 0 {
		return out, nil // an empty list would mean every topic to the broker
	}
	err := c.call(ctx, "asking for the rights to topics", func(ctx context.Context) error {
		req := request(topics)
		req.IncludeTopicAuthorizedOperations = true
		md, err := req.RequestWith(ctx, c.kgo)
		if err != nil {
			return err
		}
		for _, t := range md.Topics {
			if t.Topic != nil {
				out[*t.Topic] = rightsOf(t)
			}
		}
		return nil
	})
	return out, err
}

func rightsOf(t kmsg.MetadataResponseTopic) Rights {
	may := func(operation int) bool { return t.AuthorizedOperations&(1<<operation) != 0 }
	switch err := kerr.ErrorForCode(t.ErrorCode); {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return Rights{Known: true}
	case err != nil || t.AuthorizedOperations == unsaid:
		return Rights{}
	}
	return Rights{Known: true, Read: may(operationRead), Write: may(operationWrite)}
}
