# Raw.pm - HTTP as bytes: what a client library would hide from a test.
#
#	my $c = Raw->new($node);
#	$c->send("GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n");
#	my $r = $c->reply;	# { status, reason, head (text), headers (as written), body }
package Raw;

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Time::HiRes qw(time);

# A node, or the path of a Unix socket.
sub new
{
	my ($class, $to) = @_;
	my $s = ref $to ? IO::Socket::INET->new(PeerAddr => $to->{ip}, PeerPort => $to->{ports}{http}) :
	    IO::Socket::UNIX->new(Peer => $to);

	die "connect: $!" if !$s;
	binmode $s;
	return bless { s => $s, in => '' }, $class;
}

sub send
{
	my ($self, $bytes) = @_;
	my $at = 0;

	local $SIG{PIPE} = 'IGNORE';
	while ($at < length $bytes) {
		my $n = syswrite $self->{s}, $bytes, length($bytes) - $at, $at;
		return 0 if !defined $n;
		$at += $n;
	}
	return 1;
}

# More bytes: 1, at the end of the stream or after the time: 0.
sub _more
{
	my ($self, $end) = @_;
	my $left = $end - time;

	return 0 if $left <= 0 || !IO::Select->new($self->{s})->can_read($left);
	my $n = sysread $self->{s}, $self->{in}, 65536, length $self->{in};
	$self->{eof} = 1 if !$n;
	return $n ? 1 : 0;
}

# The next reply, undef when there is none within the seconds. head => 1: it has no body.
sub reply
{
	my ($self, %o) = @_;
	my $end = time + ($o{seconds} // 30);
	my %r;

	while ($self->{in} !~ /\r\n\r\n/) { $self->_more($end) or return undef }
	$self->{in} =~ s/^(.*?\r\n)\r\n//s;
	$r{head} = $1;
	return $self->reply(%o) if $r{head} =~ m{^HTTP/1.1 100 } && !$o{continue};
	($r{status}, $r{reason}) = $r{head} =~ m{^HTTP/1\.1 (\d+) ([^\r]*)};
	$r{headers} = { $r{head} =~ /^([^:\r\n]+): ([^\r\n]*)\r\n/mg };
	$r{body} = '';
	return \%r if $o{head} || $o{continue};
	if (($r{headers}{'Transfer-Encoding'} // '') eq 'chunked') {
		while (1) {
			while ($self->{in} !~ /^([0-9a-fA-F]+)\r\n/) { $self->_more($end) or return \%r }
			my $n = hex $1;
			my $skip = length($1) + 2;
			while (length $self->{in} < $skip + $n + 2) { $self->_more($end) or return \%r }
			$r{body} .= substr $self->{in}, $skip, $n;
			substr($self->{in}, 0, $skip + $n + 2) = '';
			last if $n == 0;
		}
		return \%r;
	}
	my $n = $r{headers}{'Content-Length'};
	while (defined $n ? length $self->{in} < $n : !$self->{eof}) { $self->_more($end) or last }
	$r{body} = substr $self->{in}, 0, $n // length $self->{in}, '';
	return \%r;
}

# One request, written out, and its reply.
sub ask
{
	my ($self, $method, $target, $headers, $body) = @_;
	my $text = "$method $target HTTP/1.1\r\nHost: test\r\n";

	$text .= "$_: $headers->{$_}\r\n" for sort keys %{$headers // {}};
	$text .= 'Content-Length: ' . length($body) . "\r\n" if defined $body;
	$self->send("$text\r\n" . ($body // ''));
	return $self->reply(head => $method eq 'HEAD');
}

# Whether the server has closed the connection (waiting for that).
sub closed
{
	my ($self, $seconds) = @_;
	my $end = time + ($seconds // 10);

	while (!$self->{eof}) { $self->_more($end) or last }
	return $self->{eof} // 0;
}

sub close { close $_[0]{s} }

1;
