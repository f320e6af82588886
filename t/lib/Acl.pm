# Acl.pm - nodes with ACLs, and tokens for the tests that need some.
#
#	my $n = Acl::node(config => { ... }, tokens => { agent => SECRET });
#	my ($secret, $accessor) = Acl::token($n, 'service "web" { policy = "write" }');
#	my ($status, $body, $headers) = Acl::http($n, $secret, 'GET', '/v1/agent/services');
package Acl;

use strict;
use warnings;
use JSON::PP ();
use Node;

# The token that may do everything.
our $ROOT = '8d9ec3d2-37c5-4b2b-9b1b-1f6f1e5c0a01';
my $json = JSON::PP->new->allow_nonref;
my $made = 0;

# Node->new() with ACLs on, default policy deny; tokens => {} adds to acl.tokens, acl => {} to acl.
sub node
{
	my (%o) = @_;
	my %acl = (enabled => JSON::PP::true, default_policy => 'deny', %{delete $o{acl} // {}},
		tokens => { initial_management => $ROOT, %{delete $o{tokens} // {}} });
	my $n = Node->new(%o, config => { %{$o{config} // {}}, acl => \%acl });

	ready($n);
	return $n;
}

# The first tokens are made by the leader, a moment after it is one.
sub ready
{
	my ($n) = @_;

	$n->wait_for(sub { (http($n, $ROOT, 'GET', '/v1/acl/token/self'))[0] == 200 }) or die "no tokens:\n" . $n->log_text;
}

# (status, body, headers); a token of undef sends none.
sub http
{
	my ($n, $token, $method, $path, $body) = @_;
	my ($status, $headers, $text) = $n->http($method, $path, $body, defined $token ? { 'X-Consul-Token' => $token } : {});

	return ($status, $text, $headers);
}

sub get
{
	my ($n, $token, $path) = @_;
	my ($status, $body) = http($n, $token, 'GET', $path);

	die "GET $path: $status $body" if $status != 200;
	return $json->decode($body);
}

sub put
{
	my ($n, $path, $data) = @_;
	my ($status, $body) = http($n, $ROOT, 'PUT', $path, $json->canonical->encode($data));

	die "PUT $path: $status $body" if $status != 200;
	return $json->decode($body);
}

# A policy of these rules: its ID.
sub policy { my ($n, $rules) = @_; return put($n, '/v1/acl/policy', { Name => "p-$$-" . ++$made, Rules => $rules })->{ID}; }

# A token with these rules: its secret, accessor, and the ID of its policy.
sub token
{
	my ($n, $rules) = @_;
	my $id = policy($n, $rules);
	my $t = put($n, '/v1/acl/token', { Policies => [{ ID => $id }] });

	return ($t->{SecretID}, $t->{AccessorID}, $id);
}

# Other rules for a policy.
sub change { my ($n, $id, $rules) = @_; return put($n, "/v1/acl/policy/$id", { ID => $id, Name => "p-$$-" . ++$made, Rules => $rules }); }

# Other rules for the anonymous token.
sub anonymous
{
	my ($n, $rules) = @_;
	my $a = '00000000-0000-0000-0000-000000000002';

	return put($n, "/v1/acl/token/$a", { AccessorID => $a, Policies => [{ ID => policy($n, $rules) }] });
}

1;
