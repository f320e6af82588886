#!/usr/bin/perl
# Debian's haproxy fills its servers from the SRV answers of a node.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Clients;

my $haproxy = Clients::need(haproxy => '/usr/sbin/haproxy');
my $dir = Clients::dir();
my $n = Node->new(name => 'balanced', config => { dns_config => { service_ttl => { '*' => '0s' } } });
my $port = Node::_free_port($n->{ip});
my @backends;

# A small HTTP server as an instance of web, with a check that we decide.
sub instance
{
	my ($name) = @_;
	my $b = Clients::backend($n->{ip}, $name);

	push @backends, $b;
	my ($status, undef, $body) = $n->http('PUT', '/v1/agent/service/register', { ID => $name, Name => 'web', Address => $n->{ip}, Port => $b->{port},
		Check => { TTL => '600s', Status => 'passing' } });
	is "$status $body", '200 ', "$name is registered";
	return $b;
}

sub health
{
	my ($name, $word) = @_;

	is +($n->http('PUT', "/v1/agent/check/$word/service:$name", ''))[0], 200, "$name: $word";
}

# Who answers a few requests in a row: the names, each once.
sub answering
{
	my %seen;

	for (1 .. 12) {
		my $r = HTTP::Tiny->new(timeout => 5)->get("http://$n->{ip}:$port/");
		$seen{$r->{success} ? $r->{content} : $r->{status}}++;
	}
	return join ' ', sort keys %seen;
}

sub answers_become
{
	my ($want, $what) = @_;
	my $last = '';

	ok $n->wait_for(sub { ($last = answering()) eq $want }), $what or diag "answering: $last";
}

instance($_) for qw(one two three);
ok $n->wait_for(sub { @{[$n->dig('_web._tcp.service.consul', 'SRV', '+short') =~ /^\d/mg]} == 3 }), 'three in the DNS';

Node::write_file("$dir/haproxy.cfg", <<"CFG");
global
    stats socket $dir/sock mode 600 level admin
    maxconn 200
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
resolvers consul
    nameserver local $n->{ip}:$n->{ports}{dns}
    accepted_payload_size 8192
    resolve_retries 3
    timeout resolve 200ms
    timeout retry 200ms
    hold valid 200ms
    hold obsolete 200ms
    hold nx 200ms
    hold other 200ms
frontend in
    bind $n->{ip}:$port
    default_backend web
backend web
    balance roundrobin
    server-template web 5 _web._tcp.service.consul resolvers consul resolve-opts allow-dup-ip resolve-prefer ipv4 init-addr none
CFG
my ($rc, $said) = Clients->run(dir => "$dir", log => 'check', cmd => [$haproxy, '-c', '-f', "$dir/haproxy.cfg"]);
is $rc, 0, 'its configuration is one' or diag $said;
my $h = Clients->start(dir => "$dir", log => 'haproxy', cmd => [$haproxy, '-db', '-f', "$dir/haproxy.cfg"]);

answers_become('one three two', 'all three instances answer');
health('two', 'fail');
answers_become('one three', 'a critical one does not');
health('two', 'pass');
answers_become('one three two', 'it is back');
instance('four');
answers_become('four one three two', 'a new one answers too');
is +($n->http('PUT', '/v1/agent/service/deregister/one', ''))[0], 200, 'one is deregistered';
answers_become('four three two', 'and gone');

# dnsd dies and is started again: what was resolved stays.
my %pids = $n->pids;
CORE::kill('KILL', $pids{dnsd});
is answering(), 'four three two', 'without dnsd the others go on';
ok $n->wait_for(sub { my %now = $n->pids; ($now{dnsd} // $pids{dnsd}) != $pids{dnsd} }), 'dnsd is started again';
health('three', 'fail');
answers_become('four two', 'and is listened to');
ok $h->running, 'haproxy is still there';
$h->stop;

done_testing;
