#!/usr/bin/perl
# ?cached: what is kept, for whom, for how long; and waits that a change without a difference leaves alone.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeDaemons;
use Frame;
use JSON::PP ();
use Node;
use Raw;
use Test::More;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $n;

# httpd beside a raftd that this script plays.
sub start
{
	my ($slice, %handlers) = @_;
	my $ip = Node::_address();
	my $port = Node::_free_port($ip);
	my $d = Frame::Daemon->new('httpd', { node_name => 'n1', node_id => '11111111-2222-3333-4444-555555555555', datacenter => 'dc1',
		server => $true, addresses => { http => [$ip] }, ports => { http => $port }, log_level => 'DEBUG', %$slice });

	$d->ask('daemon.info');
	@$d{qw(ip ports)} = ($ip, { http => $port });
	$d->{f} = FakeDaemons->new($d->{dir}, raftd => \%handlers);
	return $d;
}

sub begin
{
	my ($target, %h) = @_;
	my $c = Raw->new($n);

	$c->send(join("\r\n", "GET $target HTTP/1.1", 'Host: x', map { "$_: $h{$_}" } sort keys %h) . "\r\n\r\n");
	return $c;
}
sub whole
{
	my ($c) = @_;

	$c->_more(Time::HiRes::time() + 0.01);
	return $c->{in} =~ /^(.*?\r\n)\r\n(.*)$/s && length $2 >= ($1 =~ /^Content-Length: (\d+)/m ? $1 : 1e9);
}
sub finish
{
	my ($c) = @_;

	$n->{f}->serve(sub { whole($c) }) or return { status => 0, body => 'no answer', headers => {} };
	return $c->reply;
}
sub ask { return finish(begin(@_)) }
sub cached { my $r = ask(@_); return join ' ', $r->{status}, $r->{headers}{'X-Cache'} // 'none', $r->{body} }
sub asked { return scalar $n->{f}->requests($_[0]) }
sub settle { my ($what, $code) = @_; ok $n->{f}->serve($code), $what }
sub waiting { return $n->{f}->waiting($_[0]) }

sub entry
{
	my ($id, @checks) = @_;

	return { Node => { Node => $id }, Service => { ID => $id, Service => 'web' },
		Checks => [map { { CheckID => "$id$_", Status => $_ } } @checks] };
}

my ($web, $index) = ([entry('a', 'passing')], 10);
my $refuse;
my $health = sub {
	my ($o, $q) = @_;

	return { error => 403, text => 'ACL not found' } if ($o->{Token} // '') eq 'bad' || $refuse;
	return undef if ($o->{MinIndex} // 0) >= $index;
	return [$web, $index];
};
my @dcs = ('dc1');
my $no_leader;
$n = start({}, 'health.service' => $health, 'catalog.service' => sub { return [[], 3] }, 'catalog.services' => $health,
	'catalog.datacenters' => sub { return $no_leader ? { error => 500, text => 'No cluster leader' } : [\@dcs, 1] });

# ---- kept and shown
my $first = ask('/v1/health/service/web?cached');
is $first->{headers}{'X-Cache'}, 'MISS', 'the first question is asked';
ok !exists $first->{headers}{Age}, 'its answer has no age';
settle('a waiting copy of it keeps the entry', sub { waiting('health.service') });
my $asked = asked('health.service');
my $r = ask('/v1/health/service/web?cached');
is "$r->{headers}{'X-Cache'} $r->{headers}{Age}", 'HIT 0', 'the second is not';
is $r->{body}, $first->{body}, 'it is the same answer';
is $r->{headers}{'X-Consul-Index'}, 10, 'with its index';
is $r->{headers}{'X-Consul-Effective-Consistency'}, 'leader', 'and its other headers';
like ask('/v1/health/service/web?cached&pretty')->{body}, qr/^\[\n    /, 'shown as it is wanted';
is cached('/v1/health/service/web?cached', 'Cache-Control' => 'must-revalidate, max-age=3'), "200 HIT $first->{body}",
	'what is kept current is as good as validated';
is asked('health.service'), $asked, 'raftd has not heard of these';

# ---- other questions have other entries
for ('/v1/health/service/web?cached&passing', '/v1/health/service/web?cached&stale', '/v1/health/service/web?cached&tag=x',
    '/v1/health/service/api?cached', '/v1/catalog/service/web?cached') {
	my $before = /passing/ ? 'HIT' : 'MISS';
	like cached($_), qr/^200 $before /, "$_: $before, the first time";
	like cached($_), qr/^200 HIT /, 'and HIT then';
}
like cached('/v1/health/service/web?cached', 'X-Consul-Token' => 'mine'), qr/^200 MISS /, 'another token is another question';
like cached('/v1/health/service/web?cached', 'X-Consul-Token' => 'mine'), qr/^200 HIT /, 'with an entry of its own';
is cached('/v1/health/service/web?cached&token=bad'), '403 none ACL not found', 'a refusal';
is cached('/v1/health/service/web?cached&token=bad'), '403 none ACL not found', 'is not kept';
is ask('/v1/health/service/web?cached&consistent')->{status}, 400, 'nothing kept is consistent';
is ask('/v1/health/service/web')->{headers}{'X-Cache'}, undef, 'who does not ask for it has no part in it';

# ---- kept current
my ($web2) = ([entry('a', 'passing'), entry('b', 'passing')]);
($web, $index) = ($web2, 20);
for my $q (grep { $_->{q}{Service} eq 'web' && !$_->{q}{Tags} } waiting('health.service')) {
	$n->{f}->answer($q, $web, $index);
}
settle('a change is asked for as it comes', sub { (() = ask('/v1/health/service/web?cached')->{body} =~ /"Node":\{/g) == 2 });
is cached('/v1/health/service/web?cached&index=10'), '200 HIT ' . ask('/v1/health/service/web?cached')->{body}, 'a wait that is over already';
my $c = begin('/v1/health/service/web?cached&index=20');
settle('one that is not waits', sub { grep { ($_->{o}{MinIndex} // 0) == 20 && !$_->{o}{Token} } waiting('health.service') });
is $c->reply(seconds => 0.2), undef, 'without an answer';
$c->close;

# ---- rights end
$refuse = 1;
for my $q (grep { ($_->{o}{Token} // '') eq 'mine' } waiting('health.service')) {
	$n->{f}->_send($q, { error => 403, text => 'ACL not found' });
	$n->{f}{waiting}{'health.service'} = [grep { $_ != $q } waiting('health.service')];
}
settle('with the rights of its token an entry is gone', sub {
	cached('/v1/health/service/web?cached&token=mine') eq '403 none ACL not found' });
like cached('/v1/health/service/web?cached'), qr/^200 HIT /, 'others are not';
$refuse = 0;

# ---- what cannot be waited for
like cached('/v1/catalog/datacenters?cached'), qr/^200 MISS/, 'datacenters';
@dcs = ('dc1', 'dc2');
$r = ask('/v1/catalog/datacenters?cached');
like "$r->{headers}{'X-Cache'} $r->{headers}{Age} $r->{body}", qr/^HIT \d+ \["dc1"\]$/, 'are kept for a while';
is cached('/v1/catalog/datacenters?cached', 'Cache-Control' => 'must-revalidate'), '200 MISS ["dc1","dc2"]', 'must-revalidate asks';
@dcs = ('dc3');
is cached('/v1/catalog/datacenters?cached'), '200 HIT ["dc1","dc2"]', 'for all';
is cached('/v1/catalog/datacenters?cached', 'Cache-Control' => 'max-age=0'), '200 MISS ["dc3"]', 'max-age=0 too';
settle('max-age is the age', sub {
	@dcs = ('dc4');
	return cached('/v1/catalog/datacenters?cached', 'Cache-Control' => 'max-age=1') eq '200 MISS ["dc4"]' });
$no_leader = 1;
is cached('/v1/catalog/datacenters?cached', 'Cache-Control' => 'must-revalidate'), '500 none No cluster leader', 'an error is told';
is cached('/v1/catalog/datacenters?cached', 'Cache-Control' => 'must-revalidate, stale-if-error=20'), '200 HIT ["dc4"]',
	'unless something stale is better';
is ask('/v1/catalog/datacenters?cached', 'Cache-Control' => 'stale-if-error=soon')->{status}, 400, 'a number that is none';

# ---- raftd goes away
$n->{f}->end('raftd');
settle('what is known grows old', sub { (ask('/v1/health/service/web?cached')->{headers}{Age} // 0) >= 1 });
is ask('/v1/health/service/web?cached')->{headers}{'X-Cache'}, 'HIT', 'and is told, with its age';
$n->{f}->play('raftd', $n->{f}{handlers}{raftd});
settle('until raftd is back', sub { (ask('/v1/health/service/web?cached')->{headers}{Age} // 9) == 0 });
my ($info) = $n->ask('daemon.info');
$n->stop;
unlike $n->log, qr/Sanitizer|runtime error/, 'a clean end';

# ---- switched off
$n = start({ http_config => { use_cache => $false } }, 'health.service' => $health);
$r = ask('/v1/health/service/web?cached') for 1 .. 2;
ok !exists $r->{headers}{'X-Cache'}, 'http_config.use_cache = false: no cache';
is asked('health.service'), 2, 'each is asked';
$n->stop;

# ---- a change that shows nothing new
($web, $index) = ([entry('a', 'passing'), entry('b', 'critical')], 30);
$n = start({}, 'health.service' => $health);
my $now = ask('/v1/health/service/web?passing')->{body};
$c = begin('/v1/health/service/web?passing&index=30&wait=60s');
my $all = begin('/v1/health/service/web?index=30&wait=60s');
settle('two wait, one for what passes', sub { waiting('health.service') == 1 && asked('health.service') == 3 });
settle('and know what there is', sub { grep { !$_->{o}{MinIndex} } $n->{f}->requests('health.service') });
($web, $index) = ([entry('a', 'passing'), entry('b', 'warning')], 31);
# The answer about what there was is on its way before this one.
$n->{f}->answer((waiting('health.service'))[0], $web, $index);
like finish($all)->{body}, qr/warning/, 'a check that does not pass changes for those who see it';
settle('for the others it does not', sub { my ($q) = waiting('health.service'); $q && $q->{o}{MinIndex} == 31 });
is $c->reply(seconds => 0.2), undef, 'they wait on';
$web = [entry('a', 'passing'), entry('b', 'passing')];
$n->{f}->answer((waiting('health.service'))[0], $web, 32);
$r = finish($c);
is "$r->{headers}{'X-Consul-Index'} " . (() = $r->{body} =~ /"Node":\{/g), '32 2', 'until there is something to see';
$index = 32;
$c = begin('/v1/health/service/web?passing&index=32&wait=300ms');
settle('a wait', sub { waiting('health.service') == 1 });
$index = 33;
$n->{f}->answer((waiting('health.service'))[0], $web, 33);
$r = finish($c);
is $r->{headers}{'X-Consul-Index'}, 33, 'that ends by time alone tells the index of then';
$n->stop;
unlike $n->log, qr/Sanitizer|runtime error/, 'a clean end';
done_testing;
