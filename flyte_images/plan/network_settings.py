"""Names of the network settings of this machine that steps with a network receive, as secrets."""

CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
"""Where a user names a CA bundle: the first variable that is set counts."""

STEP_CA_VARIABLES = (*CA_VARIABLES, "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
"""Where the tools in a step look for the bundle."""

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
