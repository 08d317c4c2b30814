package values

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Argument is the value of a component's flag: a string, a number, true or false. A nil Text drops the flag.
type Argument struct {
	Text *string
}

// Flag gives what the values say of a flag, whether its name is there with dashes or without; empty if they say nothing.
func (c Component) Flag(name string) string {
	for key, argument := range c.ArgOverrides {
		if strings.TrimLeft(key, "-") == name && argument.Text != nil {
			return *argument.Text
		}
	}
	return ""
}

// UnmarshalJSON takes a JSON scalar. Errors: an object or a list.
func (a *Argument) UnmarshalJSON(data []byte) error {
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	switch value := value.(type) {
	case nil:
		a.Text = nil
	case string:
		a.Text = &value
	case bool, float64:
		text := string(data)
		a.Text = &text
	default:
		return fmt.Errorf("a flag's value is a string, a number, true, false or null, not %s", data)
	}
	return nil
}

// MarshalJSON gives the flag's text, or null.
func (a Argument) MarshalJSON() ([]byte, error) {
	return json.Marshal(a.Text)
}
