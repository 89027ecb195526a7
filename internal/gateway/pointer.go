package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// wholeNumber is the only form of number that every reader writes back alike.
var wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// parsePointer splits a JSON pointer (RFC 6901) into its reference tokens.
func parsePointer(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if text[0] != '/' {
		return nil, fmt.Errorf("JSON pointer %q must start with a slash", text)
	}
	tokens := strings.Split(text[1:], "/")
	for i, t := range tokens {
		unescaped := strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
		if strings.Count(t, "~") != strings.Count(t, "~0")+strings.Count(t, "~1") {
			return nil, fmt.Errorf("JSON pointer %q: write ~ as ~0 and / as ~1", text)
		}
		tokens[i] = unescaped
	}
	return tokens, nil
}

// errNotScalar tells that a value is there and cannot be a key.
var errNotScalar = errors.New("is neither a string nor a whole number")

// errRepeated tells that readers would disagree about the value.
var errRepeated = errors.New("appears more than once")

// errOtherLetters tells that many readers, Go's among them, take another name for the one that is looked for.
var errOtherLetters = errors.New("has a name that differs in capitals alone")

// scalarAt returns the string or whole number at the pointer's place in a JSON document. Nothing
// there, or null, is not found. The whole document must be well formed.
func scalarAt(doc []byte, tokens []string) (value string, found bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	value, found, err = descend(dec, tokens)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return "", false, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return "", false, errors.New("has text after the end of the document")
	}
	return value, found, nil
}

// descend reads one value and looks for the rest of the pointer in it.
func descend(dec *json.Decoder, tokens []string) (string, bool, error) {
	token, err := dec.Token()
	if err != nil {
		return "", false, err
	}
	delim, nested := token.(json.Delim)
	switch {
	case !nested && len(tokens) == 0:
		return scalar(token)
	case !nested:
		return "", false, nil
	case len(tokens) == 0:
		return "", false, errNotScalar
	case delim == '{':
		return member(dec, tokens)
	default:
		return element(dec, tokens)
	}
}

func scalar(token json.Token) (string, bool, error) {
	switch v := token.(type) {
	case nil:
		return "", false, nil
	case string:
		return v, true, nil
	case json.Number:
		if wholeNumber.MatchString(v.String()) {
			return v.String(), true, nil
		}
	}
	return "", false, errNotScalar
}

// member reads the rest of an object.
func member(dec *json.Decoder, tokens []string) (value string, found bool, err error) {
	seen := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return "", false, err
		}
		if name != tokens[0] {
			if other, ok := name.(string); ok && strings.EqualFold(other, tokens[0]) {
				return "", false, errOtherLetters
			}
			if err := skip(dec); err != nil {
				return "", false, err
			}
			continue
		}
		if seen {
			return "", false, errRepeated
		}
		seen = true
		if value, found, err = descend(dec, tokens[1:]); err != nil {
			return "", false, err
		}
	}
	_, err = dec.Token()
	return value, found, err
}

// element reads the rest of an array.
func element(dec *json.Decoder, tokens []string) (value string, found bool, err error) {
	for i := 0; dec.More(); i++ {
		if tokens[0] != strconv.Itoa(i) {
			if err := skip(dec); err != nil {
				return "", false, err
			}
			continue
		}
		if value, found, err = descend(dec, tokens[1:]); err != nil {
			return "", false, err
		}
	}
	_, err = dec.Token()
	return value, found, err
}

// skip reads one value, however deep.
func skip(dec *json.Decoder) error {
	for depth := 0; ; {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
