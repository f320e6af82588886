#!/usr/bin/perl
# Rights that go while somebody is using them: streams, blocking queries, answers that were kept, and waits at the agent, when a token is deleted or may less.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Acl;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

my $n = Acl::node(dev => 1, name => 'm1', tokens => { agent => $Acl::ROOT });
my $rules = 'key_prefix "k/" { policy = "read" } service "web" { policy = "read" } node_prefix "" { policy = "read" }';

# A request that goes on: what has come of it so far is in {got}; {over} when the server has closed it.
sub open_request
{
	my ($token, $path) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $n->{ports}{http}) or die "connect: $!";

	print $s "GET $path HTTP/1.1\r\nHost: x\r\nX-Consul-Token: $token\r\nConnection: close\r\n\r\n";
	return { s => $s, got => '', over => 0 };
}
sub comes
{
	my ($x, $re, $seconds) = @_;
	my $end = time + ($seconds // 30);

	while ($x->{got} !~ $re && !$x->{over} && time < $end) {
		IO::Select->new($x->{s})->can_read(0.1) or next;
		sysread($x->{s}, $x->{got}, 65536, length $x->{got}) or $x->{over} = 1;
	}
	return $x->{got} =~ $re;
}
sub ends { my ($x, $seconds) = @_; comes($x, qr/(?!)/, $seconds // 30); return $x->{over} }
sub put { my ($key, $value) = @_; return (Acl::http($n, $Acl::ROOT, 'PUT', "/v1/kv/$key", $value))[1] }
sub drop { my ($accessor) = @_; return (Acl::http($n, $Acl::ROOT, 'DELETE', "/v1/acl/token/$accessor"))[1] =~ s/\s+\z//r }
sub index_of { my ($token, $path) = @_; my (undef, undef, $h) = Acl::http($n, $token, 'GET', $path); return $h->{'x-consul-index'} }

put('k/a', 'one');
Acl::http($n, $Acl::ROOT, 'PUT', '/v1/agent/service/register', { Name => 'web', ID => 'web' });
ok($n->wait_for(sub { @{Acl::get($n, $Acl::ROOT, '/v1/health/service/web')} == 1 }), 'a service is there');

# ---- a stream whose token is deleted, beside one that stays
my ($gone, $gone_accessor) = Acl::token($n, $rules);
my ($stays) = Acl::token($n, $rules);
my ($a, $b) = map { open_request($_, '/v1/stream?topic=kv:k/&topic=service:web&format=ndjson') } $gone, $stays;
for my $x ($a, $b) {
	ok(comes($x, qr{"k/a"}), 'a stream tells of the keys');
	ok(comes($x, qr/"web"/), 'and of the service');
}
is(drop($gone_accessor), 'true', 'a token is deleted');
my $from = time;
ok(comes($a, qr/ACL not found/, 10), 'its stream is told') || diag $a->{got};
ok(ends($a, 10), 'and ends');
cmp_ok(time - $from, '<', 8, 'soon');
put('k/b', 'secret-b');
ok(comes($b, qr{"k/b"}), 'the other goes on');
unlike($a->{got}, qr{k/b}, 'the one that has ended does not');

# ---- a policy that allows less
my ($less, undef, $policy) = Acl::token($n, $rules);
my $c = open_request($less, '/v1/stream?topic=kv:k/&format=ndjson');
ok(comes($c, qr{"k/b"}), 'a stream of one that is about to lose a right');
Acl::change($n, $policy, 'key_prefix "other/" { policy = "read" }');
$n->wait_for(sub { (Acl::http($n, $less, 'GET', '/v1/kv/k/a'))[0] == 403 });
put('k/c', 'secret-c');
ok(comes($b, qr{"k/c"}), 'who has the right is told of a new key');
ok(!comes($c, qr{k/c}, 1.5), 'who has lost it is not');

# ---- blocking queries, and answers that are kept
my ($short, $short_accessor) = Acl::token($n, $rules);
my $index = index_of($short, '/v1/kv/k/a');
my $q = open_request($short, "/v1/kv/k/a?index=$index&wait=60s");
my $h = open_request($short, '/v1/health/service/web?wait=60s&index=' . index_of($short, '/v1/health/service/web'));
my (undef, undef, $first) = Acl::http($n, $short, 'GET', '/v1/health/service/web?cached');
my (undef, undef, $second) = Acl::http($n, $short, 'GET', '/v1/health/service/web?cached');
is($second->{'x-cache'}, 'HIT', 'an answer is kept');
my (undef, $none) = Acl::http($n, undef, 'GET', '/v1/health/service/web?cached');
like($none, qr/^\[\]\s*\z/, 'for nobody else');
my ($status, undef, $hash) = Acl::http($n, $short, 'GET', '/v1/agent/service/web');
my $w = open_request($short, '/v1/agent/service/web?wait=60s&hash=' . $hash->{'x-consul-contenthash'});
is(drop($short_accessor), 'true', 'its token is deleted');
ok(comes($q, qr/^HTTP\/1.1 403.*ACL not found/s, 10), 'a query that waited for a key is refused');
ok(comes($h, qr/^HTTP\/1.1 403.*ACL not found/s, 10), 'and one for a service');
ok($n->wait_for(sub { (Acl::http($n, $short, 'GET', '/v1/health/service/web?cached'))[0] == 403 }, 5), 'what was kept is shown no more');
Acl::http($n, $Acl::ROOT, 'PUT', '/v1/agent/service/register', { Name => 'web', ID => 'web', Tags => ['hidden-now'] });
ok(comes($w, qr/^HTTP\/1.1 403/s, 30), 'who waits at the agent has the rights of when he is woken');
unlike($w->{got}, qr/hidden-now/, 'and is shown nothing');
done_testing;
