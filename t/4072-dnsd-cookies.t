#!/usr/bin/perl
# Cookies (RFC 7873, RFC 9018), and response-rate limiting that spares who has one.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;
use Recursor;

my $up = Recursor->new({ '*' => { A => ['192.0.2.1'] } });
my $d = Dnsd->new({ services => { web => [Dnsd::entry('web', 'n1', '10.0.0.1', { Port => 80 })], consul => [Dnsd::entry('consul', 'n1', '10.0.0.1')] } },
	{ recursors => [$up->{address}], dns_config => { workers => 1 } });
my $mine = 'abcdefgh';
my $next = 1;

# A query with a cookie of these bytes.
sub query
{
	my ($name, $type, $cookie) = @_;
	my $p = Dns::query($name, $type, edns => 1232, id => $next++ & 0xffff);

	substr($p, -2) = pack 'n n n a*', 4 + length $cookie, 10, length $cookie, $cookie if defined $cookie;
	return $p;
}

# The cookie of a reply, its OPT being the last record; '' for none.
sub cookie { my ($reply) = @_; return $reply =~ /\0\x0a\0\x18(.{24})(?:\0\x0b.*)?\z/s ? $1 : ''; }

# Send packets all at once, by one socket: the replies.
sub burst
{
	my (@packets) = @_;
	my $s = Dns::socket_udp($d);
	my @replies;

	$s->send($_) for @packets;
	while (IO::Select->new($s)->can_read(1)) {
		$s->recv(my $r, 65535);
		push @replies, $r;
	}
	return @replies;
}
sub rcode { my ($reply) = @_; return Dns::parse($reply)->{rcode}; }
sub cut { return scalar grep { Dns::parse($_)->{flags}{tc} } @_; }
sub config { my (%c) = @_; $d->reload({ dns_config => { workers => 1, %c } }); }

# ---- cookies

my $r = Dns::udp($d, query('web.service.consul', 'A', $mine));
my $cookie = cookie($r);
is substr($cookie, 0, 8), $mine, 'a client\'s cookie comes back';
is unpack('H8', substr $cookie, 8), '01000000', '... with ours behind it, version 1';
cmp_ok abs(time - unpack 'N', substr $cookie, 12), '<', 60, '... and the time';
is cookie(Dns::udp($d, query('web.service.consul', 'A', $cookie))), $cookie, 'a good one is not replaced';
isnt cookie($r = Dns::udp($d, query('web.service.consul', 'A', $mine . 'x' x 16))), $mine . 'x' x 16, 'a bad one is';
is rcode($r), 0, '... and answered, while answers are not limited';
is cookie($r = Dns::udp($d, query('nobody.service.consul', 'A', $cookie))), $cookie, 'NXDOMAIN has it';
is cookie(Dns::udp($d, query('web.service.consul', 'AXFR', $cookie))), $cookie, 'an error has it';
is rcode(Dns::udp($d, query('web.service.consul', 'A', $mine . 'x' x $_))), 1, 8 + $_ . ' bytes are malformed' for 1, 7, 33;
is rcode(Dns::udp($d, query('web.service.consul', 'A', 'x' x $_))), 1, "$_ bytes are malformed" for 0, 1, 7;
my $alone = pack('n6', 9, 0, 0, 0, 0, 1) . "\0" . pack('n n N n n n a*', 41, 1232, 0, 12, 10, 8, $mine);
$r = Dns::udp($d, $alone);
is rcode($r), 0, 'a question for a cookie alone';
is substr(cookie($r), 0, 8), $mine, '... gets one';
is unpack('x4 n', $r), 0, '... and no question';
my $s = Dns::socket_tcp($d);
syswrite $s, Dns::tcp_frame(query('web.service.consul', 'A', $cookie));
is cookie(Dns::tcp_read($s)), $cookie, 'over TCP, too';

# Between us and the client alone.
$r = Dns::udp($d, query('host.example', 'A', $cookie));
is cookie($r), $cookie, 'an answer of a recursor has our cookie';
is Dns::parse($r)->{answer}[0], 'host.example. 60 A 192.0.2.1', '... and is whole';
is +($up->log('host.example'))[-1]{options}, '', '... the recursor has seen none';
is cookie(Dns::udp($d, query('host.example', 'A'))), '', 'who sends none gets none';

config(cookies => JSON::PP::false);
is cookie(Dns::udp($d, query('web.service.consul', 'A', $cookie))), '', 'without `cookies\' nobody gets one';
is rcode(Dns::udp($d, $alone)), 1, '... and who asks for nothing else is refused';

# ---- rate limiting

config(rate_limit => 10, rate_limit_slip => 0);
my @got = burst(map { query('web.service.consul', 'A') } 1 .. 100);
cmp_ok scalar(@got), '>=', 10, 'of 100 equal questions at once 10 are answered';
cmp_ok scalar(@got), '<=', 40, '... and few more';
is cut(@got), 0, '... the others are dropped';
config(rate_limit => 10, rate_limit_slip => 2);
ok $d->wait_for(sub { my @one = burst(query('web.service.consul', 'A')); @one && !cut(@one) }, 10), 'there is room again';
@got = burst(map { query('web.service.consul', 'A') } 1 .. 100);
cmp_ok cut(@got), '>=', 25, 'with slip 2 every other one is told to come by TCP';
cmp_ok cut(@got), '<=', 45, '... the rest is dropped';
cmp_ok @got - cut(@got), '<=', 40, '... or answered';
is scalar(grep { cut($_) && length $_ > 80 } @got), 0, '... what tells so is short';
is scalar(burst(map { query('web.service.consul', 'A', $cookie) } 1 .. 100)), 100, 'who has a good cookie is answered always';
@got = burst(map { query('web.service.consul', 'A', $mine . 'x' x 16) } 1 .. 5);
is_deeply [map { rcode($_) } @got], [(23) x @got], 'a bad one is told so: BADCOOKIE';
cmp_ok scalar(@got), '>', 0, '... unless there are too many';
is cookie($got[0]) ne '' && rcode(Dns::udp($d, query('web.service.consul', 'A', cookie($got[0])))), 0, '... and what comes with it is good';
$s = Dns::socket_tcp($d);
syswrite $s, join '', map { Dns::tcp_frame(query('web.service.consul', 'A')) } 1 .. 100;
is scalar(grep { defined Dns::tcp_read($s) } 1 .. 100), 100, 'over TCP nobody is limited';
ok $d->wait_for(sub { my @one = burst(query('no.service.consul', 'A')); @one && !cut(@one) }, 10), 'there is room again';
cmp_ok scalar(grep { !cut($_) } burst(map { query("no$_.service.consul", 'A') } 1 .. 100)), '<=', 40, 'names that do not exist count together';
cmp_ok scalar(grep { !cut($_) } burst(map { query("no$_.consul", 'SOA') } 1 .. 100)), '<=', 40, '... and so does SOA of any name';
is scalar(burst(map { query('web.service.consul', 'TXT') } 1 .. 8)), 8, 'other types are other answers';
my $before = () = $up->log;
cmp_ok scalar(grep { !cut($_) } burst(map { query('flood.example', 'A') } 1 .. 100)), '<=', 40, 'answers of recursors are limited, too';
cmp_ok +(() = $up->log) - $before, '<=', 40, '... before a recursor is asked';
ok $d->wait_for(sub { grep { $_->{Name} =~ /^dns\.rate_limit\.(dropped|truncated)$/ } @{($d->ask('daemon.metrics'))[1]} }),
	'what is dropped or cut is counted';
config();
is scalar(burst(map { query('web.service.consul', 'A') } 1 .. 100)), 100, 'reloaded without a limit: all are answered';

# ---- processes share the secret

my $two = Dnsd->new({ services => { web => [Dnsd::entry('web', 'n1', '10.0.0.1')] } }, { dns_config => { workers => 3, rate_limit => 10 } });
$cookie = cookie(Dns::udp($two, query('web.service.consul', 'A', $mine)));
my %rcode;
for my $i (1 .. 60) {
	$rcode{rcode(Dns::udp($two, query(($i % 7 ? 'web' : "web$i") . '.service.consul', 'A', $cookie)))}++;
}
is join(' ', sort keys %rcode), '0 3', 'a cookie is good at whichever process the question arrives';
is $_->stop('TERM'), 0, 'it ends well' for $d, $two;
done_testing;
