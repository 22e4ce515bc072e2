"""What OpenAI's two dialects share: its models, its errors, its way to say tools and files. Neither imports the other.

`openai_chat` is Chat Completions, `openai_responses` is Responses.
"""
