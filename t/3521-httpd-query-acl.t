#!/usr/bin/perl
# Prepared queries with ACLs: who may change and see them, and the token that one runs with.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use JSON::PP ();
use Node;
use Test::More;

my $json = JSON::PP->new->canonical->allow_nonref;
my $root = '11111111-2222-4333-8444-555555555555';
my $n = Node->new(dev => 1, name => 'n1', wait => 'agent', config => { acl => { enabled => JSON::PP::true, default_policy => 'deny', tokens => { initial_management => $root } } });

# "STATUS body", with the secret of this token.
sub ask
{
	my ($secret, $method, $path, $body) = @_;
	my ($status, undef, $text) = $n->http($method, "/v1/$path" . ($path =~ /\?/ ? '&' : '?') . "token=$secret", defined $body ? $json->encode($body) : undef);

	$text =~ s/\n\z//;
	return "$status $text";
}
sub decode { my ($answer) = @_; return $answer =~ s/^200 // ? $json->decode($answer) : undef }
sub token
{
	my ($name, $rules) = @_;

	like ask($root, 'PUT', 'acl/policy', { Name => $name, Rules => $rules }), qr/^200 /, "policy $name";
	return decode(ask($root, 'PUT', 'acl/token', { Policies => [{ Name => $name }] }))->{SecretID};
}

ok $n->wait_for(sub { ask($root, 'GET', 'catalog/services') =~ /consul/ }), 'a leader, and the first token';
for my $id ('a', 'b') {
	like ask($root, 'PUT', 'catalog/register', { Node => "m$id", Address => '10.0.0.1', Service => { ID => $id, Service => 'web' } }), qr/^200 /, "instance $id";
}
my $one = token('one', 'service "web" { policy = "read" } node "ma" { policy = "read" }');
my $two = token('two', 'service "web" { policy = "read" } node "mb" { policy = "read" } query_prefix "app" { policy = "write" }');
my $reads = token('reads', 'query "app" { policy = "read" }');

# ---- changes
like ask($one, 'POST', 'query', { Name => 'app', Service => { Service => 'web' } }), qr/^403 Permission denied: .*lacks permission 'query:write' on "app"$/, 'made by who may not';
my $id = decode(ask($two, 'POST', 'query', { Name => 'app', Token => $one, Service => { Service => 'web' } }))->{ID};
ok defined $id, 'made by who may';
like ask($reads, 'PUT', "query/$id", { Name => 'app', Service => { Service => 'x' } }), qr/^403 Permission denied: /, 'changed by who may not';
like ask($reads, 'DELETE', "query/$id"), qr/^403 Permission denied: /, 'removed by who may not';

# ---- who sees what
is decode(ask($root, 'GET', "query/$id"))->[0]{Token}, $one, 'its token, to who manages ACLs';
is decode(ask($reads, 'GET', "query/$id"))->[0]{Token}, '<hidden>', 'hidden from others';
is decode(ask($reads, 'GET', 'query'))->[0]{Token}, '<hidden>', 'in the list, too';
like ask($one, 'GET', "query/$id"), qr/^403 Permission denied: /, 'not seen without the right';
is ask($one, 'GET', 'query'), '200 []', 'nor in the list';
like ask($one, 'GET', 'query/app/explain'), qr/^403 Permission denied: /, 'nor explained';
is decode(ask($reads, 'GET', 'query/app/explain'))->{Query}{Token}, '<hidden>', 'explained with the right';
like ask('nobody-has-this', 'GET', 'query'), qr/^403 ACL not found/, 'an unknown token';
like ask($reads, 'PUT', "query/$id", { Name => 'app', Token => '<hidden>', Service => { Service => 'x' } }), qr/^(?:403|500) /, 'a hidden token is none';

# ---- run
sub found { my ($secret) = @_; my $r = decode(ask($secret, 'GET', 'query/app/execute')); return $r ? join ' ', sort map { $_->{Service}{ID} } @{$r->{Nodes}} : 'refused' }
is found($two), 'a', 'it finds what its own token may see';
is found($reads), 'a', 'whoever asks';
like ask($two, 'PUT', "query/$id", { Name => 'app', Service => { Service => 'web' } }), qr/^200 ?$/, 'without a token of its own';
is found($two), 'b', 'what the asker may see';
is found($one), 'a', 'each his own';
is found($reads), '', 'who sees nothing finds nothing';
is found($root), 'a b', 'who sees all finds all';
like ask($two, 'PUT', "query/$id", { Name => 'app', Token => '99999999-0000-0000-0000-000000000000', Service => { Service => 'web' } }), qr/^200 ?$/, 'with a token that is none';
like ask($root, 'GET', 'query/app/execute'), qr/^403 ACL not found/, 'it cannot run';

# ---- what was kept of it (?cached) is not shown for longer than a moment when the rights have gone
like ask($two, 'PUT', "query/$id", { Name => 'app', Service => { Service => 'web' } }), qr/^200 ?$/, 'without a token again';
my $short = decode(ask($root, 'PUT', 'acl/token', { Policies => [{ Name => 'one' }] }));
like ask($short->{SecretID}, 'GET', 'query/app/execute?cached'), qr/^200 .*"ID": ?"a"/s, 'an answer that is kept';
like ask($root, 'DELETE', "acl/token/$short->{AccessorID}"), qr/^200 /, 'its token goes';
ok $n->wait_for(sub { ask($short->{SecretID}, 'GET', 'query/app/execute?cached') =~ /^403 ACL not found/ }, 5), 'and so does the answer';

ok defined $n->stop, 'the node ends';
done_testing;
