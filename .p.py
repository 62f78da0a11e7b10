def sub(p, *pairs):
    s=open(p).read()
    for a,b in pairs:
        assert s.count(a)==1,(p,s.count(a),a)
        s=s.replace(a,b)
    open(p,'w').write(s)
sub('docs/boards.md',('''A Planka in Docker reaches
it as `http://host.docker.internal:8000`, say, which needs `ATHANORE_API_HOST=0.0.0.0` and tokens; and its `start.sh` forbids requests
to local addresses unless its documentation is followed there.
''','''A Planka in Docker
does not reach 127.0.0.1: bind another address with tokens ([security](security.md)), and call the task API by this machine's address on Docker's
network, such as `http://172.17.0.1:8000`. A name like `host.docker.internal` is refused unless `ATHANORE_API_URL` has it. What
`OUTGOING_BLOCKED_HOSTS` of Planka names (`localhost`, at first) Planka does not call.
'''))
