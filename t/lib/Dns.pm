# Dns.pm - questions to a node's DNS server for a test script: by dig, or
# packet by packet.
#
#	my $r = Dns::dig($n, 'web.service.consul', 'SRV');
#	$r->{status}, $r->{flags} (a hash), $r->{answer}, {authority}, {additional}: lists of "owner ttl type data"
#	my $bytes = Dns::udp($n, Dns::query('web.service.consul', 'A', id => 7));
package Dns;

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

our %TYPE = (A => 1, NS => 2, CNAME => 5, SOA => 6, PTR => 12, MX => 15, TXT => 16, AAAA => 28, SRV => 33,
	AXFR => 252, ANY => 255);
my %NAME = reverse %TYPE;
my @STATUS = qw(NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED);

# Without cookies and, unless asked for, EDNS: what a plain stub resolver sends.
sub dig
{
	my ($n, @args) = @_;
	my $section = '';
	my %r = (answer => [], authority => [], additional => [], status => 'none', flags => {});

	unshift @args, '+noedns' if !grep { /^\+(edns|bufsize|dnssec|noedns)/ } @args;
	$r{text} = $n->dig('+nocookie', '+ignore', @args);
	for (split /\n/, $r{text}) {
		$r{status} = $1 if /status: (\w+)/;
		$r{flags} = { map { $_ => 1 } split ' ', $1 } if /^;; flags: ([\w ]*);/;
		$r{udp} = $1 if /EDNS: version: 0.* udp: (\d+)/;
		$section = lc $1 if /^;; (\w+) SECTION:/;
		$section = '' if /^$/;
		next if /^;/ || $section !~ /^(answer|authority|additional)$/;
		my ($owner, $ttl, undef, $type, $data) = split /\s+/, $_, 5;
		push @{$r{$section}}, "$owner $ttl $type $data";
	}
	return \%r;
}

# ---- packets

sub name
{
	my ($text) = @_;

	return join('', map { chr(length) . $_ } grep { length } split /\./, $text) . "\0";
}

# A query; options: id, flags, edns (its UDP size), version, options (a hash of EDNS options: code to bytes).
sub query
{
	my ($name, $type, %o) = @_;
	my $p = pack 'n6', $o{id} // 1, $o{flags} // 0x0100, 1, 0, 0, $o{edns} ? 1 : 0;

	$p .= name($name) . pack 'n2', $TYPE{$type} // $type, $o{class} // 1;
	my $options = join '', map { pack 'n n/a*', $_, $o{options}{$_} } sort keys %{$o{options} // {}};
	$p .= "\0" . pack 'n n C C n n/a*', 41, $o{edns}, 0, $o{version} // 0, 0, $options if $o{edns};
	return $p;
}

sub _name_at
{
	my ($p, $at) = @_;
	my ($text, $end, $jumps) = ('', undef, 0);

	for (;;) {
		my $n = ord substr $p, $at, 1;
		if ($n >= 0xc0) {
			$end //= $at + 2;
			$at = unpack('n', substr $p, $at, 2) & 0x3fff;
			die "pointers without end" if ++$jumps > 64;
			next;
		}
		last if $n == 0;
		$text .= substr($p, $at + 1, $n) . '.';
		$at += $n + 1;
	}
	return ($text eq '' ? '.' : $text, $end // $at + 1);
}

sub _data
{
	my ($p, $at, $len, $type) = @_;

	return join '.', unpack 'C4', substr $p, $at, 4 if $type == 1;
	return (_name_at($p, $at))[0] if $type == 2 || $type == 5 || $type == 12;
	return join(' ', unpack 'n3', substr $p, $at, 6) . ' ' . (_name_at($p, $at + 6))[0] if $type == 33;
	return unpack 'H*', substr $p, $at, $len;
}

# A reply taken apart, in dig's shape; undef for none.
sub parse
{
	my ($p) = @_;

	return undef if !defined $p;
	my ($id, $flags, $qd, @counts) = unpack 'n6', $p;
	my $at = 12;
	my %r = (id => $id, rcode => $flags & 15, status => $STATUS[$flags & 15] // $flags & 15, size => length $p,
		opcode => $flags >> 11 & 15, question => '', answer => [], authority => [], additional => []);

	$r{flags} = { map { $_->[0] => 1 } grep { $flags & $_->[1] } (['qr', 0x8000], ['aa', 0x0400], ['tc', 0x0200],
		['rd', 0x0100], ['ra', 0x0080], ['ad', 0x0020], ['cd', 0x0010]) };
	($r{question}, $at) = _name_at($p, $at) if $qd;
	$at += 4 if $qd;
	for my $section (qw(answer authority additional)) {
		for (1 .. shift @counts) {
			(my $owner, $at) = _name_at($p, $at);
			my ($type, $class, $ttl, $len) = unpack 'n n N n', substr $p, $at, 10;
			$at += 10;
			if ($type == 41) {
				$r{udp} = $class;
				$r{rcode} |= $ttl >> 24 << 4;
				my $options = substr $p, $at, $len;
				while (length $options >= 4) {
					my ($code, $n) = unpack 'n2', $options;
					$r{options}{$code} = unpack 'H*', substr $options, 4, $n;
					substr $options, 0, 4 + $n, '';
				}
			} else {
				push @{$r{$section}}, "$owner $ttl " . ($NAME{$type} // $type) . ' ' . _data($p, $at, $len, $type);
			}
			$at += $len;
		}
	}
	die "bytes behind the reply" if $at != length $p;
	return \%r;
}

sub socket_udp { my ($n) = @_; return IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $n->{ports}{dns}, Proto => 'udp'); }
sub socket_tcp { my ($n) = @_; return IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $n->{ports}{dns}); }

# One datagram out, one in; undef after $wait seconds (5).
sub udp
{
	my ($n, $packet, $wait, $s) = @_;
	my $r;

	$s //= socket_udp($n);
	$s->send($packet);
	return undef if !IO::Select->new($s)->can_read($wait // 5);
	$s->recv($r, 65535);
	return $r;
}

# Ask by UDP and take the reply apart.
sub ask { my ($n, @query) = @_; return parse(udp($n, query(@query))); }

# The next message of a TCP connection; undef at its end or after $wait seconds.
sub tcp_read
{
	my ($s, $wait) = @_;
	my $end = time + ($wait // 5);
	my $b = '';

	while (length $b < 2 || length $b < 2 + unpack 'n', $b) {
		my $left = length $b < 2 ? 2 - length $b : 2 + unpack('n', $b) - length $b;
		return undef if $end < time || !IO::Select->new($s)->can_read($end - time);
		return undef if !sysread $s, $b, $left, length $b;
	}
	return substr $b, 2;
}

sub tcp_frame { my ($packet) = @_; return pack('n', length $packet) . $packet; }

# ---- the catalog

# Register a node with a service: catalog($n, 'node1', '10.0.0.1', { Service => 'web', Port => 80 }, 'passing').
sub catalog
{
	my ($n, $node, $address, $service, $status, %more) = @_;
	my %r = (Node => $node, Address => $address, %more);

	$r{Service} = $service if $service;
	$r{Check} = { Node => $node, CheckID => 'c-' . ($service->{ID} // $service->{Service}), Name => 'c',
		ServiceID => $service->{ID} // $service->{Service}, Status => $status } if $status;
	my ($http, undef, $body) = $n->http('PUT', '/v1/catalog/register', \%r);
	die "catalog/register: $http $body" if $http != 200;
}

1;
