"""SIP: the gateway process around pjsua2, and its calls as legs of the workers."""
