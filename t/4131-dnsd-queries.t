#!/usr/bin/perl
# Prepared queries by DNS, as a client of a whole node sees them: by name and ID, templates, health, TTL, order and
# nearness; and checks of a node, which count for its services.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Dns;
use Node;

my $n = Node->new(dev => 1, name => 'server', config => { dns_config => { service_ttl => { db => '8s' } } });
my $true = JSON::PP::true;

Dns::catalog($n, "db-$_", "127.9.0.$_", { Service => 'db', Port => 5000 + $_, Tags => $_ == 1 ? ['master', 'eu'] : ['eu'] }, 'passing') for 1 .. 3;
Dns::catalog($n, 'sick', '10.0.0.9', { Service => 'sick', Port => 1 }, 'warning');

sub query
{
	my ($name, $service, %more) = @_;
	my ($status, undef, $body) = $n->http('POST', '/v1/query', { Name => $name, Service => $service, %more });

	die "query: $status $body" if $status != 200;
	return JSON::PP->new->decode($body)->{ID};
}

sub ask { return Dns::ask($n, @_) }
sub data { my ($r) = @_; return join ' ', sort map { (split)[-1] } @{$r->{answer}} }
sub becomes { my ($name, $want) = @_; return $n->wait_for(sub { data(ask($name, 'A')) eq $want }) }

my $id = query('front.end', { Service => 'db' }, DNS => { TTL => '33s' });
query('plain', { Service => 'db', Tags => ['Master'] });
query('passing', { Service => 'sick', OnlyPassing => $true });
query('near', { Service => 'db', Near => '_ip' });
query('near-node', { Service => 'db', Near => 'db-2' });
query('geo', { Service => '${match(1)}', Tags => ['${match(2)}'] }, Template => { Type => 'name_prefix_match', Regexp => '^geo\\.(.+)\\.(.+)$' });

is data(ask('front.end.query.consul', 'A')), '127.9.0.1 127.9.0.2 127.9.0.3', 'by its name, with a dot';
is data(ask("$id.query.consul", 'A')), '127.9.0.1 127.9.0.2 127.9.0.3', 'by its ID';
is data(ask(uc("$id.query.dc1.consul"), 'A')), '127.9.0.1 127.9.0.2 127.9.0.3', '... in capitals, with the datacenter';
is data(ask('_front.end._tcp.query.consul', 'SRV')), 'db-1.node.dc1.consul. db-2.node.dc1.consul. db-3.node.dc1.consul.', 'SRV, as in RFC 2782';
is +(ask('front.end.query.consul', 'A')->{answer}[0] =~ / (\d+) A /)[0], 33, 'a TTL of its own';
is +(ask('plain.query.consul', 'A')->{answer}[0] =~ / (\d+) A /)[0], 8, 'without one that of the service';
is data(ask('plain.query.consul', 'A')), '127.9.0.1', 'with its tags';
is data(ask('geo.db.master.query.consul', 'A')), '127.9.0.1', 'a template sees all labels';
is data(ask('geo.db.eu.query.consul', 'A')), '127.9.0.1 127.9.0.2 127.9.0.3', '... each time anew';
is ask('geo.db.query.consul', 'A')->{status}, 'NXDOMAIN', '... and may make nothing of them';
my $r = ask('passing.query.consul', 'A');
is $r->{status}, 'NXDOMAIN', 'only passing: nobody';
like $r->{authority}[0], qr/ SOA /, '... with the SOA';
is ask('plain.query.consul', 'MX')->{status} . @{ask('plain.query.consul', 'MX')->{answer}}, 'NOERROR0', 'another type';

# ---- near

is join(' ', map { (split ' ', ask('near-node.query.consul', 'A')->{answer}[0])[-1] } 1 .. 8), join(' ', ('127.9.0.2') x 8), 'near its node: that one first, always';
for my $i (1 .. 3) {
	# From an address that is a node's own.
	my $s = IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $n->{ports}{dns}, LocalAddr => "127.9.0.$i", Proto => 'udp') or die "127.9.0.$i: $!";
	my @first = map { (split ' ', Dns::parse(Dns::udp($n, Dns::query('near.query.consul', 'A'), 10, $s))->{answer}[0])[-1] } 1 .. 5;
	is "@first", join(' ', ("127.9.0.$i") x 5), "near the client itself ($i)";
}

# ---- changes

$n->http('PUT', "/v1/query/$id", { Name => 'front.end', Service => { Service => 'db', Tags => ['master'] } });
ok becomes('front.end.query.consul', '127.9.0.1'), 'a query that is changed';
$n->http('PUT', '/v1/catalog/register', { Node => 'db-1', Address => '127.9.0.1', Check => { Node => 'db-1', CheckID => 'disk', Name => 'disk', Status => 'critical' } });
ok becomes('front.end.query.consul', ''), 'its one instance is on a node that is sick';
is ask('front.end.query.consul', 'A')->{status}, 'NXDOMAIN', '... so there is nobody';
ok becomes('db.service.consul', '127.9.0.2 127.9.0.3'), 'a check of the node counts for its services';
$n->http('PUT', '/v1/catalog/register', { Node => 'db-1', Address => '127.9.0.1', Check => { Node => 'db-1', CheckID => 'disk', Name => 'disk', Status => 'passing' } });
ok becomes('front.end.query.consul', '127.9.0.1'), 'and well again';
$n->http('DELETE', "/v1/query/$id");
ok $n->wait_for(sub { ask('front.end.query.consul', 'A')->{status} eq 'NXDOMAIN' }), 'a query that is removed';
$n->stop;
is join("\n", grep { /Sanitizer|runtime error/ } split /\n/, $n->log_text . $n->err_text), '', 'a clean end';
done_testing;
