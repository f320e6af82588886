#!/usr/bin/perl
# ?filter on every endpoint that takes one: what is left, and what is said of a filter that is none.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use JSON::PP ();
use Node;
use Raw;
use Test::More;

my $json = JSON::PP->new->canonical->allow_nonref;
my $n = Node->new(dev => 1, name => 'n1');

sub escape { my ($s) = @_; $s =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ge; return $s }
sub ask { return Raw->new($n)->ask($_[0], $_[1], $_[3], $_[2]) }
sub filter { my ($path, $filter) = @_; return ask('GET', "/v1/$path" . ($path =~ /\?/ ? '&' : '?') . 'filter=' . escape($filter)) }
# What is left, in a word: the names under the first of these that there is.
sub left
{
	my ($path, $filter) = @_;
	my $r = filter($path, $filter);
	my $got = $r->{status} == 200 ? $json->decode($r->{body}) : return "$r->{status} $r->{body}";

	$got = $got->{Services} if ref $got eq 'HASH' && exists $got->{Services};
	return join ' ', sort keys %$got if ref $got eq 'HASH';
	return join ' ', sort map { $_->{CheckID} // $_->{ServiceID} // (ref $_->{Service} ? $_->{Service}{ID} : $_->{ID} && $_->{Service} && !ref $_->{Service} ? $_->{ID} : $_->{Node} // $_->{Name}) } @$got;
}

for my $i (1 .. 3) {
	my $r = ask('PUT', '/v1/catalog/register', $json->encode({ Node => "m$i", Address => "10.0.0.$i", NodeMeta => { zone => $i == 3 ? 'west' : 'east', "k-$i" => 'v' },
		Service => { ID => "web$i", Service => 'web', Port => 80 + $i, Tags => ["v$i", 'all'], Meta => { version => "$i" } },
		Checks => [{ CheckID => "c$i", ServiceID => "web$i", Status => $i == 2 ? 'warning' : 'passing', Name => "check $i" }] }));
	like "$r->{status} $r->{body}", qr{^200 true}, "node m$i";
}
is ask('PUT', '/v1/agent/service/register', '{"ID":"low","Name":"low","Port":1,"Tags":["t"],"Meta":{"k":"v"},"Check":{"CheckID":"low-check","TTL":"1h","Status":"passing"}}')->{status}, 200, 'a service of this node';
ok $n->wait_for(sub { $json->decode(ask('GET', '/v1/catalog/service/low')->{body})->[0] }), 'it is in the catalog';

# ---- every endpoint
my @cases = (
	['catalog/nodes', 'Meta.zone == east', 'm1 m2'], ['catalog/nodes', 'Node matches "^m[13]$"', 'm1 m3'], ['catalog/nodes', 'Meta["k-2"] == v', 'm2'],
	['catalog/nodes', 'Address == "10.0.0.3" or Node == n1', 'm3 n1'], ['catalog/nodes', '"k-1" in Meta', 'm1'],
	['catalog/services', 'v2 in ServiceTags', 'web'], ['catalog/services', 'ServiceName != web', 'consul low'],
	['catalog/service/web', 'ServicePort == 82', 'web2'], ['catalog/service/web', 'ServiceTags contains v1 or NodeMeta.zone == west', 'web1 web3'],
	['catalog/service/web', 'ServiceMeta.version != 1', 'web2 web3'], ['catalog/service/web?tag=v1', 'ServicePort == 82', ''],
	['catalog/node/m1', 'Service == web', 'web1'], ['catalog/node/m1', 'Service == db', ''], ['catalog/node/m1', 'v1 in Tags', 'web1'],
	['catalog/node-services/m1', 'Port == 81', 'web1'], ['catalog/node-services/m1', 'Port != 81', ''],
	['health/node/m1', 'Status == passing', 'c1'], ['health/node/m1', 'Name contains 2', ''],
	['health/checks/web', 'Status == warning', 'c2'], ['health/state/any', 'ServiceName == web and not Node == m1', 'c2 c3'],
	['health/service/web', 'Checks.Status == warning', 'web2'], ['health/service/web', 'Service.Tags contains v3', 'web3'],
	['health/service/web?passing', 'Node.Meta.zone == east', 'web1'], ['health/service/web', 'Service.Weights.Passing == 1 and Service.Port != 82', 'web1 web3'],
	['agent/services', 'Service == low', 'low'], ['agent/services', 'Meta.k == v and t in Tags', 'low'], ['agent/services', 'Port == 2', ''],
	['agent/checks', 'CheckID == "low-check"', 'low-check'], ['agent/checks', 'Status == critical', ''],
	['internal/ui/nodes', 'Node == m2', 'm2'], ['internal/ui/nodes', 'Checks.Status == warning', 'm2'], ['internal/ui/services', 'Service.Service == web', 'web'],
	['internal/ui/services', 'Node.Node == n1', 'consul low'],
);
is left($_->[0], $_->[1]), $_->[2], "$_->[0]: $_->[1]" for @cases;

# ---- the index is that of the whole
my $whole = ask('GET', '/v1/catalog/service/web');
is filter('catalog/service/web', 'ServicePort == 0')->{headers}{'X-Consul-Index'}, $whole->{headers}{'X-Consul-Index'}, 'a filter does not change the index';

# ---- what is none
my $p = '500 Failed to create boolean expression evaluator: ';
my %path = map { ($_->[0] =~ /^([^?]+)/)[0] => 1 } @cases;
is left($_, 'Foo == 1'), qq(${p}Selector "Foo" is not valid), "$_: an unknown selector" for sort keys %path;
my @wrong = (
	['Node.Foo.bar == 1', 'Selector "Node.Foo" is not valid'],
	['Node.CreateIndex == 1', 'Selector "Node.CreateIndex" is not valid'],
	['Service.Tags == x', 'Invalid match operator "Equal" for selector "Service.Tags"'],
	['Service.Port matches x', 'Invalid match operator "Matches" for selector "Service.Port"'],
	['Service.Port == x', 'Failed to coerce value "x" for selector "Service.Port": strconv.ParseInt: parsing "x": invalid syntax'],
	['Service.EnableTagOverride == x', 'Failed to coerce value "x" for selector "Service.EnableTagOverride": strconv.ParseBool: parsing "x": invalid syntax'],
	['Service.Service matches "("', 'Failed to compile regular expression "(": error parsing regexp: missing closing )'],
	['Node.Node == n1 abc', '1:17 (16): no match found, expected: "and", "or", [ \t\r\n] or EOF'],
	['Node.Node ==', '1:13 (12): no match found, expected: "-", "0", "\"", "`", [ \t\r\n], [1-9] or [a-zA-Z]'],
	['(Node.Node == n1', '1:17 (16): rule "grouping": Unmatched parentheses'],
	['Node.Node == "n1', '1:17 (16): rule "string": Unterminated string literal'],
	['Node.Meta[zone] == x', '1:11 (10): rule "index": Invalid index'],
	['Node.Node == 3x', '1:15 (14): rule "number": Invalid number literal'],
);
is left('health/service/web', $_->[0]), "$p$_->[1]", $_->[0] for @wrong;
like left('catalog/nodes', '(' x 500 . 'Node == a' . ')' x 500), qr/^\Q$p\E/, 'nested too deeply';
like left('catalog/nodes', 'Node == ' . 'a' x 7000), qr/^$/, 'a long one';

ok defined $n->stop, 'the node ends';
done_testing;
