package main

import (
	"context"
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

// answerNXDomain is the resolver that the cluster's CoreDNS forwards to: an
// internet with nothing in it. A name from outside fails at once, as a name
// that does not exist, and no question leaves the machine.
func answerNXDomain(ctx context.Context, address string) error {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(address, "53"))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	buffer := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if answer, ok := nxDomain(buffer[:n]); ok {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func nxDomain(question []byte) ([]byte, bool) {
	var parser dnsmessage.Parser
	header, err := parser.Start(question)
	if err != nil {
		return nil, false
	}
	questions, err := parser.AllQuestions()
	if err != nil {
		return nil, false
	}
	answer := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID:                 header.ID,
			Response:           true,
			RecursionDesired:   header.RecursionDesired,
			RecursionAvailable: true,
			RCode:              dnsmessage.RCodeNameError,
		},
		Questions: questions,
	}
	packed, err := answer.Pack()
	return packed, err == nil
}
